/* bitnet.c - the `bitnet` tool: a verb, and its options. */
#include "tools/bitnet.h"

#include <signal.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} verbs[] = {
    { "run", verb_run, "write on from a prompt" },
    { "chat", verb_chat, "a conversation in the terminal" },
    { "tokenize", verb_tokenize, "text to token ids, and back" },
    { "logits", verb_logits, "every position's logits, into a file" },
    { "inspect", verb_inspect, "what is in a model file" },
    { "doctor", verb_doctor, "is a model read as it was meant, and what mends it" },
    { "perplexity", verb_perplexity, "how well a model foretells a text" },
    { "crossval", verb_crossval, "the same model elsewhere: does it say the same" },
    { "bench", verb_bench, "how fast a model runs, beside what the machine can do" },
    { "convert", verb_convert, "a model file in another encoding" },
    { "synth", verb_synth, "a model of a published shape, with random weights" },
    { "load", verb_load, "many clients at once against a server, and what they got" },
    { "key", verb_key, "an API key for bitnetd, and its line for server.keys" },
};
enum { N_VERBS = sizeof verbs / sizeof *verbs };

static int help(void)
{
    struct buf b = { 0 };
    struct err e = { 0 };
    buf_addf(&b, "usage: bitnet VERB [OPTION]...\n\n");
    for (unsigned i = 0; i < N_VERBS; i++)
        buf_addf(&b, "  %-10s %s\n", verbs[i].name, verbs[i].about);
    buf_addf(&b, "\n`bitnet VERB --help` lists a verb's options.\n"
             "Exit code: 0 done, 1 failed, 2 used wrongly.\n");
    int rc = put_out(b.p, b.n, &e);
    buf_free(&b);
    return tool_exit(rc, &e);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);     /* a write says so instead */
    signal(SIGXFSZ, SIG_IGN);
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
        return help();
    if (argc > 1 && !strcmp(argv[1], "--version")) {
        struct err e = { 0 };
        static const char line[] = "bitnet " BITNET_VERSION "\n";
        return tool_exit(put_out(line, sizeof line - 1, &e), &e);
    }
    for (unsigned i = 0; argc > 1 && i < N_VERBS; i++)
        if (!strcmp(argv[1], verbs[i].name))
            return verbs[i].run(argc - 1, argv + 1);
    if (argc > 1)
        fprintf(stderr, "bitnet: %s: unknown verb, see `bitnet --help`\n", argv[1]);
    else
        fprintf(stderr, "bitnet: no verb, see `bitnet --help`\n");
    return TOOL_USAGE;
}
