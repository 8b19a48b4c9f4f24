/* bitnet_bench_out.c - rows for machines and for people.
 *
 * A row is one flat JSON object whose keys are the same in every row; CSV has
 * them as columns, in that order. The table for people says the shared ones
 * once. */
#include "tools/bitnet_bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/engine/forward_parts.h"
#include "core/plug/isa.h"
#include "core/plug/limits.h"

/* ------------------------------------------------------------------ records */

static void whole(json_t *j, const char *key, uint64_t v)
{
    json_object_set_new(j, key, json_integer((json_int_t)v));
}

static void number(json_t *j, const char *key, double v)
{
    json_object_set_new(j, key, json_real(v));
}

static void text(json_t *j, const char *key, const char *v)
{
    json_object_set_new(j, key, json_cstr(v));
}

/* part of all, 0 when all could not be measured */
static double fraction(double part, double all)
{
    return all > 0 ? part / all : 0;
}

static void add_times(json_t *j, const struct bench_row *r)
{
    const double tokens = (double)r->n_tok * r->n_seq;
    const double gbs = r->bytes / r->s * 1e-9, gmacs = r->macs / r->s * 1e-9;
    const double of_read = fraction(gbs, r->now.read_gbs);
    const double of_int8 = fraction(gmacs, r->now.int8_gmacs);
    text(j, "test", r->name);
    whole(j, "n_prompt", r->decode ? 0 : r->n_tok);
    whole(j, "n_gen", r->decode ? r->n_tok : 0);
    whole(j, "n_batch", r->n_seq);
    whole(j, "n_depth", r->depth);
    number(j, "tok_s", tokens / r->s);
    number(j, "tok_s_min", tokens / r->s_max);
    number(j, "tok_s_max", tokens / r->s_min);
    number(j, "step_ms", r->step_s * 1e3);
    number(j, "step_ms_p10", r->step_s_p10 * 1e3);
    number(j, "step_ms_p90", r->step_s_p90 * 1e3);
    number(j, "step_bytes", r->bytes / r->n_step);
    number(j, "step_macs", r->macs / r->n_step);
    number(j, "head_rows", r->head_rows);
    number(j, "read_gbs", gbs);
    number(j, "int8_gmacs", gmacs);
    number(j, "now_read_gbs", r->now.read_gbs);
    number(j, "now_int8_gmacs", r->now.int8_gmacs);
    number(j, "of_read", of_read);
    number(j, "of_int8", of_int8);
    text(j, "limit", of_read > of_int8 ? "memory" : "int8");
    number(j, "of_limit", of_read > of_int8 ? of_read : of_int8);
}

static void device_name(const struct dev *d, struct buf *out)
{
    buf_addf(out, "%s%s: %s", out->n ? " + " : "", d->plugin->note.raw.id, d->info.name);
}

static void add_device(json_t *j, const char *key, const struct dev *d)
{
    struct buf b = { 0 };
    device_name(d, &b);
    text(j, key, b.p ? b.p : "");
    buf_free(&b);
}

/* The devices of the layers' matrices, each once. */
static void add_layer_devices(json_t *j, const struct forward_state *s, uint32_t n_layer)
{
    struct buf b = { 0 };
    const struct weight *w = s->weights.w;
    for (uint32_t i = 0; i < n_layer * W_LAYER_N; i++) {
        uint32_t k = 0;
        while (w[k].dev != w[i].dev)
            k++;
        if (k == i)
            device_name(w[i].dev, &b);
    }
    text(j, "plugin_layers", b.p ? b.p : "");
    buf_free(&b);
}

static void add_machine(json_t *j, const struct loaded *l)
{
    char isa[256];
    isa_format(l->plug->topo.abi.isa, isa, sizeof isa);
    text(j, "cpu", l->plug->topo.cpu_name);
    whole(j, "threads", l->plug->topo.abi.n_workers);
    text(j, "isa", isa);
    number(j, "machine_read_gbs", limits_read_gbs(l->plug));
    number(j, "machine_int8_gmacs", limits_int8_gmacs(l->plug));
    text(j, "machine_int8_by", limits_int8_name(l->plug));
}

static void add_model(json_t *j, const struct loaded *l)
{
    const struct model *m = l->model;
    const struct forward *f = l->forward;
    text(j, "model", m->name);
    text(j, "model_file", gguf_name(m->file));
    whole(j, "model_size", gguf_file_size(m->file));
    text(j, "arch", m->arch);
    text(j, "type_layers", wtype_name_of(m->layer[0].t[T_ATTN_Q].t));
    text(j, "type_head", wtype_name_of(m->head.t));
    text(j, "type_kv", f->conf.kv_format == BNP_KV_I8 ? "i8" : "f16");
    number(j, "weights_mib", (double)f->mem.weights / 1048576);
    number(j, "kv_mib", (double)f->mem.kv / 1048576);
    add_layer_devices(j, f->state, m->hp.n_layer);
    add_device(j, "plugin_head", f->state->weights.head->dev);
    add_device(j, "plugin_attn", f->state->layer[0].attn);
    add_device(j, "plugin_point", f->state->layer[0].point);
}

static void add_run(json_t *j, const struct bench_run *u)
{
    char now[32];
    const time_t t = time(NULL);
    struct tm tm;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    number(j, "load_s", u->load_s);
    number(j, "rss_peak_mib", u->rss_mib);
    text(j, "version", BITNET_VERSION);
    text(j, "commit", u->commit ? u->commit : "");
    text(j, "command", u->command);
    text(j, "time", now);
}

static json_t *record(const struct loaded *l, const struct bench_run *u, const struct bench_row *r)
{
    json_t *j = json_object();
    add_times(j, r);
    whole(j, "n_rep", r->n_rep);
    add_machine(j, l);
    add_model(j, l);
    add_run(j, u);
    return j;
}

/* ------------------------------------------------------------------ formats */

static void put_csv_text(struct buf *b, const char *s)
{
    buf_add(b, "\"", 1);
    for (; *s; s++)
        buf_add(b, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
    buf_add(b, "\"", 1);
}

static void put_csv(struct buf *b, json_t *list)
{
    size_t i;
    const char *key;
    json_t *j, *v;
    json_array_foreach(list, i, j) {
        const char *sep = "";
        if (!i) {
            json_object_foreach(j, key, v) {
                buf_addf(b, "%s%s", sep, key);
                sep = ",";
            }
            buf_add(b, "\n", 1);
            sep = "";
        }
        json_object_foreach(j, key, v) {
            buf_addf(b, "%s", sep);
            if (json_is_string(v))
                put_csv_text(b, json_string_value(v));
            else if (json_is_integer(v))
                buf_addf(b, "%lld", (long long)json_integer_value(v));
            else
                buf_addf(b, "%.9g", json_real_value(v));
            sep = ",";
        }
        buf_add(b, "\n", 1);
    }
}

static const char *str(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

static double num(const json_t *j, const char *key)
{
    return json_number_value(json_object_get(j, key));
}

static void put_md(struct buf *b, json_t *list)
{
    size_t i;
    json_t *j = json_array_get(list, 0);
    buf_addf(b, "- machine: %s, %.0f threads, %s; at best reads %.1f GB/s, int8 %.1f GMAC/s (%s)\n",
             str(j, "cpu"), num(j, "threads"), str(j, "isa"), num(j, "machine_read_gbs"),
             num(j, "machine_int8_gmacs"), str(j, "machine_int8_by"));
    buf_addf(b, "- model: %s (%s), %s with %s head, %.1f MiB of weights, loaded in %.2f s, "
             "peak RSS %.1f MiB\n", str(j, "model"), str(j, "model_file"), str(j, "type_layers"),
             str(j, "type_head"), num(j, "weights_mib"), num(j, "load_s"), num(j, "rss_peak_mib"));
    buf_addf(b, "- layers: %s; head: %s; attention: %s; pointwise: %s\n", str(j, "plugin_layers"),
             str(j, "plugin_head"), str(j, "plugin_attn"), str(j, "plugin_point"));
    buf_addf(b, "- bitnet %s%s%s, %.0f repetitions: `%s`\n\n", str(j, "version"),
             *str(j, "commit") ? " " : "", str(j, "commit"), num(j, "n_rep"), str(j, "command"));
    buf_addf(b, "| test | n_batch | tok/s | min .. max | ms/step | GB/s | machine | GMAC/s | "
             "machine | of limit |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    json_array_foreach(list, i, j)
        buf_addf(b, "| %s | %.0f | %.2f | %.2f .. %.2f | %.3f | %.2f | %.1f | %.2f | %.1f | "
                 "%.1f %% %s |\n", str(j, "test"), num(j, "n_batch"), num(j, "tok_s"),
                 num(j, "tok_s_min"), num(j, "tok_s_max"), num(j, "step_ms"), num(j, "read_gbs"),
                 num(j, "now_read_gbs"), num(j, "int8_gmacs"), num(j, "now_int8_gmacs"),
                 100 * num(j, "of_limit"), str(j, "limit"));
}

static int put_jsonl(json_t *list, struct err *e)
{
    size_t i;
    json_t *j;
    int rc = 0;
    json_array_foreach(list, i, j)
        if (!rc)
            rc = put_json(json_incref(j), e);
    return rc;
}

int bench_print(enum bench_format format, const struct loaded *l, const struct bench_run *u,
                const struct bench_row *r, unsigned n, struct err *e)
{
    struct buf b = { 0 };
    json_t *list = json_array();
    int rc = 0;
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(list, record(l, u, &r[i]));
    if (json_array_size(list) != n)
        rc = err_set(e, ERR_NOMEM, "bench: no memory for the results");
    else if (format == BENCH_JSON)
        rc = put_json(json_incref(list), e);
    else if (format == BENCH_JSONL)
        rc = put_jsonl(list, e);
    else {
        (format == BENCH_CSV ? put_csv : put_md)(&b, list);
        rc = b.failed ? err_set(e, ERR_NOMEM, "bench: no memory for the results")
                      : put_out(b.p, b.n, e);
    }
    buf_free(&b);
    json_decref(list);
    return rc;
}
