/* err.h - how things fail.
 *
 * Every function that can fail returns int: 0, or one of the negative codes
 * below. Cold paths also take a struct err and fill it once, where the
 * failure is understood. The text has three parts: which thing, what is
 * wrong, what was expected or what to do. One line, no newline. */
#ifndef BITNET_BASE_ERR_H
#define BITNET_BASE_ERR_H

enum {
    ERR_ARG = -1,         /* the caller, the command line or the configuration */
    ERR_IO = -2,          /* the operating system said no                      */
    ERR_DATA = -3,        /* a file's content contradicts its format           */
    ERR_UNSUPPORTED = -4, /* well-formed, and not something we do              */
    ERR_NOMEM = -5,
    ERR_LIMIT = -6,       /* over a limit that the configuration sets          */
    ERR_PLUGIN = -7,      /* a plugin broke the contract, or is missing        */
    ERR_NUMERIC = -8,     /* a NaN or Inf where a number was needed            */
    ERR_DEVICE = -9,      /* a device is lost                                  */
    ERR_CANCELLED = -10,
    ERR_STRICT = -11,     /* strict mode refuses what normal mode would mend   */
    ERR_INTERNAL = -12    /* our own invariant failed                          */
};

struct err {
    int code;             /* 0 while nothing has failed                        */
    char text[512];
};

/* Fills e (which may be NULL) and returns code. [any thread] */
__attribute__((format(printf, 3, 4)))
int err_set(struct err *e, int code, const char *fmt, ...);

/* Puts "prefix: " in front of the text e holds, and returns e's code. */
__attribute__((format(printf, 2, 3)))
int err_prefix(struct err *e, const char *fmt, ...);

#endif
