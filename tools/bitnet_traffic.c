/* bitnet_traffic.c - `bitnet load`: many clients at once, and what they got.
 *
 * Closed loop: a fixed number of clients, each sends its next request when the
 * last has ended. Open loop: requests arrive at random at a given rate, whether
 * the server keeps up or not, and their times count from the moment of arrival. */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bitnet.h"
#include "tools/bitnet_traffic.h"

static struct traffic_ask ask = {
    .url = "http://127.0.0.1:8080", .n_client = 8, .prompt_tok = { 64, 64 }, .new_tok = { 32, 32 },
    .n_plan = 64,
};
static const char *prompt_text, *new_text;

static const struct opt options[] = {
    { "url", 'u', OPT_TEXT, &ask.url, "URL", "the server (default http://127.0.0.1:8080)" },
    { "key", 0, OPT_TEXT, &ask.key, "KEY", "API key" },
    { "clients", 'c', OPT_U32, &ask.n_client, "N", "requests under way at once (default 8)" },
    { "rate", 0, OPT_F32, &ask.rate, "R", "instead: R random arrivals in a second" },
    { "requests", 'n', OPT_U32, &ask.n_request, "N", "end after N requests (default 100)" },
    { "seconds", 's', OPT_U32, &ask.seconds, "S", "begin no request after S seconds" },
    { "prompt", 'p', OPT_TEXT, &prompt_text, "N|LO-HI", "tokens of a prompt (default 64)" },
    { "new", 'g', OPT_TEXT, &new_text, "N|LO-HI", "tokens to generate (default 32)" },
    { "share", 0, OPT_F32, &ask.share, "F", "fraction of prompts that begin alike (default 0)" },
    { "share-tokens", 0, OPT_U32, &ask.share_tok, "N", "for so many tokens" },
    { "leave", 0, OPT_F32, &ask.leave, "F", "fraction of clients that leave early (default 0)" },
    { "plans", 0, OPT_U32, &ask.n_plan, "N", "different requests (default 64)" },
    { "temp", 0, OPT_F32, &ask.temperature, "T", "temperature; 0: greedy (default)" },
    { "ttft", 0, OPT_F32, &ask.ttft_ms, "MS", "goodput: first token within MS" },
    { "itl", 0, OPT_F32, &ask.itl_ms, "MS", "goodput: mean time per token within MS" },
    { "seed", 0, OPT_U64, &ask.seed, "S", "what the traffic is drawn from (default 0)" },
    { "check", 0, OPT_FLAG, &ask.check, NULL,
      "hold every text against the same request sent alone before" },
    { "json", 0, OPT_FLAG, &ask.json, NULL, "the result as JSON" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "load", "[-u URL] [OPTION]...",
    "Sends random prompts to POST /v1/completions of a running server, and reports\n"
    "what came back and when. Exit code 1 when a request failed, was cut, or (with\n"
    "--check) got another text than alone. A server that refuses for the moment (429)\n"
    "is no failure, and is counted.",
    { options }
};

static int read_range(const char *name, const char *text, struct range *r, struct err *e)
{
    if (!text)
        return 0;
    char *end;
    unsigned long lo = strtoul(text, &end, 10), hi = lo;
    if (end != text && *end == '-')
        hi = strtoul(end + 1, &end, 10);
    if (end == text || *end || text[0] == '-' || lo < 1 || hi < lo || hi > 1 << 20)
        return err_set(e, ERR_ARG, "--%s: %.40s, expected a number from 1 to %d, or two as in 16-64",
                       name, text, 1 << 20);
    *r = (struct range){ (uint32_t)lo, (uint32_t)hi };
    return 0;
}

static int check_fraction(const char *name, float v, struct err *e)
{
    return v >= 0 && v <= 1 ? 0 : err_set(e, ERR_ARG, "--%s: %g, expected 0 to 1", name, (double)v);
}

static int check_ask(struct err *e)
{
    int rc = read_range("prompt", prompt_text, &ask.prompt_tok, e);
    if (!rc)
        rc = read_range("new", new_text, &ask.new_tok, e);
    if (!rc)
        rc = check_fraction("share", ask.share, e);
    if (!rc)
        rc = check_fraction("leave", ask.leave, e);
    if (!rc && (ask.n_client < 1 || ask.n_client > 20000))
        rc = err_set(e, ERR_ARG, "--clients: %u, expected 1 to 20000", ask.n_client);
    if (!rc && (ask.n_plan < 1 || ask.n_plan > 100000))
        rc = err_set(e, ERR_ARG, "--plans: %u, expected 1 to 100000", ask.n_plan);
    if (!rc && !(ask.rate >= 0 && ask.rate <= 100000))
        rc = err_set(e, ERR_ARG, "--rate: %g, expected 0 to 100000", (double)ask.rate);
    if (!ask.n_request && !ask.seconds)
        ask.n_request = 100;
    return rc;
}

static void traffic_close(struct traffic *t)
{
    for (uint32_t i = 0; t->plan && i < ask.n_plan; i++) {
        buf_free(&t->plan[i].body);
        buf_free(&t->plan[i].alone);
    }
    free(t->plan);
    free(t->ttft.at);
    free(t->itl.at);
    free(t->tpot.at);
    free(t->all.at);
}

static int load(struct traffic *t, struct err *e)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return err_set(e, ERR_NOMEM, "load: libcurl does not start");
    int rc = traffic_hello(t, e);
    if (!rc)
        rc = traffic_plan(t, e);
    if (!rc && ask.check)
        rc = traffic_alone(t, e);
    if (!rc)
        rc = traffic_run(t, e);
    if (!rc)
        rc = traffic_print(t, e);
    curl_global_cleanup();
    return rc;
}

int verb_load(int argc, char **argv)
{
    static struct traffic t = { .ask = &ask };
    struct words w;
    struct err e = { 0 };
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc == 1)
        return TOOL_OK;
    if (!rc && w.n)
        rc = err_set(&e, ERR_ARG, "%.100s: one argument too many", w.at[0]);
    if (!rc)
        rc = check_ask(&e);
    if (rc) {
        tool_exit(rc, &e);
        return TOOL_USAGE;
    }
    rc = tool_exit(load(&t, &e), &e);
    const bool bad = t.n[SHOT_FAILED] || t.n[SHOT_LOST] || t.n[SHOT_WRONG];
    traffic_close(&t);
    return rc ? rc : bad ? TOOL_FAILED : TOOL_OK;
}
