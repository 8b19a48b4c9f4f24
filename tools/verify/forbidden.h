/* forbidden.h - what a plugin must not call. Names only, so that the check of
 * the build (tests/lint/exports.sh) reads them from here too. */
#ifndef VERIFY_FORBIDDEN_H
#define VERIFY_FORBIDDEN_H

/* Ending the process, writing, signals, threads, the loader, the environment. */
static const char *const forbidden[] = {
    "abort", "exit", "_exit", "_Exit", "quick_exit", "atexit", "__cxa_atexit", "on_exit",
    "__assert_fail",
    "printf", "vprintf", "fprintf", "vfprintf", "dprintf", "puts", "putchar", "putc", "fputs",
    "fputc", "fwrite", "perror", "psignal", "__printf_chk", "__vprintf_chk", "__fprintf_chk",
    "__vfprintf_chk", "__dprintf_chk", "stdout", "stderr", "syslog",
    "signal", "sigaction", "sigprocmask", "pthread_sigmask", "raise", "kill", "sigaltstack",
    "pthread_create", "thrd_create", "fork", "vfork", "clone", "execve", "execv", "execvp",
    "system", "popen", "posix_spawn",
    "setlocale", "uselocale",
    "sched_setaffinity", "pthread_setaffinity_np", "fesetround", "fesetenv", "feenableexcept",
    "fedisableexcept",
};

/* The loader: only a plugin whose note says that its device is no CPU may ask it
 * for the driver, which it must not link: this machine may have none. */
static const char *const forbidden_loader[] = { "dlopen", "dlmopen", "dlsym", "dlvsym", };

/* libm, each also with f or l behind: its bits differ from machine to machine. */
static const char *const forbidden_math[] = {
    "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh",
    "acosh", "atanh", "sincos", "exp", "exp2", "exp10", "expm1", "log", "log2", "log10", "log1p",
    "pow", "sqrt", "cbrt", "hypot", "erf", "erfc", "tgamma", "lgamma", "fma", "fmod", "remainder",
    "remquo", "rint", "lrint", "llrint", "nearbyint", "round", "lround", "llround", "roundeven",
    "trunc", "ceil", "floor", "fmin", "fmax", "fdim", "fabs", "ldexp", "frexp", "modf", "scalbn",
    "scalbln", "logb", "ilogb", "nextafter", "nexttoward",
};

/* Asking the processor instead of the host. */
static const char *const forbidden_cpu[] = {
    "getauxval", "__getauxval", "elf_aux_info", "__cpu_model", "__cpu_features2",
    "__cpu_indicator_init", "__cpu_model_init", "__init_cpu_features_resolver",
    "__get_cpuid", "__get_cpuid_count",
};

#endif
