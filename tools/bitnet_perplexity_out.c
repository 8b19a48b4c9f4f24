/* bitnet_perplexity_out.c - the figures, for people and for programs. */
#include "tools/bitnet_perplexity.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct kl {                       /* what is said about the reference          */
    double median, p99, top1;
    double ratio, ratio_error;    /* ln(perplexity / the reference's)          */
};

/* Of the mean difference of two runs over the same positions. */
static double difference_error(const struct ppl *p)
{
    const double n = (double)p->nll.n, a = stat_error(&p->nll), b = stat_error(&p->nll_ref);
    if (n < 2)
        return 0;
    const double cov = (p->cross / n - stat_mean(&p->nll) * stat_mean(&p->nll_ref)) / (n - 1);
    const double var = a * a + b * b - 2 * cov;
    return var > 0 ? sqrt(var) : 0;
}

static struct kl kl_of(struct ppl *p)
{
    stat_sort(p->kld_all, p->kld.n);
    return (struct kl){ .median = stat_percentile(p->kld_all, p->kld.n, 0.5),
                        .p99 = stat_percentile(p->kld_all, p->kld.n, 0.99),
                        .top1 = (double)p->n_same / (double)p->kld.n,
                        .ratio = stat_mean(&p->nll) - stat_mean(&p->nll_ref),
                        .ratio_error = difference_error(p) };
}

static json_t *kl_json(struct ppl *p)
{
    const struct kl k = kl_of(p);
    return json_pack("{s:o,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "ref",
                     json_cstr(p->ref_file), "mean", stat_mean(&p->kld),
                     "error", stat_error(&p->kld), "median", k.median, "p99", k.p99, "max",
                     p->kld.max, "top1", k.top1, "top1_error", stat_share_error(k.top1, p->kld.n),
                     "ref_perplexity", exp(stat_mean(&p->nll_ref)), "ln_ratio", k.ratio,
                     "ln_ratio_error", k.ratio_error);
}

static int print_json(struct ppl *p, const struct loaded *l, struct err *e)
{
    const double nll = stat_mean(&p->nll), error = stat_error(&p->nll);
    const char *file = gguf_name(l->model->file);
    json_t *j = json_pack("{s:f,s:f,s:f,s:f,s:I,s:I,s:I,s:I,s:b,s:o,s:o,s:f,s:f}",
                          "perplexity", exp(nll), "error", exp(nll) * error, "nll", nll,
                          "nll_error", error, "n_scored", (json_int_t)p->nll.n, "n_window",
                          (json_int_t)p->n_seq, "n_window_text", (json_int_t)p->n_seq_text, "ctx",
                          (json_int_t)p->seq[0].n_tok, "bos", p->bos, "model",
                          json_cstr(file), "text", json_cstr(p->text_file), "seconds",
                          p->seconds, "tok_s",
                          (double)p->n_tok / p->seconds);
    if (j && p->ref_file)
        json_object_set_new(j, "kl", kl_json(p));
    return put_json(j, e);
}

static void kl_text(struct ppl *p, struct buf *b)
{
    const struct kl k = kl_of(p);
    buf_addf(b, "reference     %s: perplexity %.4f\n", p->ref_file, exp(stat_mean(&p->nll_ref)));
    buf_addf(b, "ln ratio      %.6f +- %.6f\n", k.ratio, k.ratio_error);
    buf_addf(b, "KL mean       %.6f +- %.6f\n", stat_mean(&p->kld), stat_error(&p->kld));
    buf_addf(b, "KL median     %.6f, 99 %% %.6f, largest %.6f\n", k.median, k.p99, p->kld.max);
    buf_addf(b, "same token    %.3f +- %.3f %% of %" PRIu64 " positions\n", 100 * k.top1,
             100 * stat_share_error(k.top1, p->kld.n), p->kld.n);
}

static int print_text(struct ppl *p, struct err *e)
{
    struct buf b = { 0 };
    const double all = exp(stat_mean(&p->nll));
    buf_addf(&b, "perplexity    %.4f +- %.4f\n", all, all * stat_error(&p->nll));
    buf_addf(&b, "-ln p         %.6f +- %.6f a token\n", stat_mean(&p->nll), stat_error(&p->nll));
    buf_addf(&b, "scored        %" PRIu64 " tokens in %u windows of %u%s\n", p->nll.n, p->n_seq,
             p->seq[0].n_tok, p->bos ? ", BOS first" : "");
    if (p->ref_file)
        kl_text(p, &b);
    buf_addf(&b, "time          %.2f s, %.1f tokens/s\n", p->seconds,
             (double)p->n_tok / p->seconds);
    int rc = b.failed ? err_set(e, ERR_NOMEM, "perplexity: no memory for its figures")
                      : put_out(b.p, b.n, e);
    buf_free(&b);
    return rc;
}

int ppl_print(struct ppl *p, const struct loaded *l, struct err *e)
{
    return common.json ? print_json(p, l, e) : print_text(p, e);
}
