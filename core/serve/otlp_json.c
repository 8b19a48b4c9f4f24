/* otlp_json.c - spans as an ExportTraceServiceRequest, in JSON.
 *
 * https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids are hex,
 * 64-bit numbers are strings. Attributes follow the semantic conventions for
 * HTTP servers and for generative AI. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "core/serve/api_json.h"
#include "core/serve/otlp.h"

enum { KIND_SERVER = 2, STATUS_ERROR = 2 };

static json_t *u64(uint64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, v);
    return json_string(text);
}

static void add_text(json_t *to, const char *key, const char *value)
{
    if (value && *value)
        json_array_append_new(to, json_pack("{s:s,s:{s:o}}", "key", key, "value", "stringValue",
                                            api_text_or_null(value)));
}

static void add_number(json_t *to, const char *key, uint64_t value)
{
    json_array_append_new(to, json_pack("{s:s,s:{s:o}}", "key", key, "value", "intValue",
                                        u64(value)));
}

static json_t *attributes(const struct otlp_span *s, const char *model)
{
    json_t *a = json_array();
    add_text(a, "http.request.method", s->method);
    add_text(a, "http.route", s->route);
    add_number(a, "http.response.status_code", s->status);
    add_text(a, "bitnetd.request_id", s->request_id);
    add_text(a, "error.type", s->error);
    add_text(a, "gen_ai.operation.name", s->operation);
    add_text(a, "gen_ai.provider.name", "bitnetd");
    add_text(a, "gen_ai.request.model", model);
    add_text(a, "gen_ai.response.model", model);
    if (s->queue_ns) {
        add_number(a, "gen_ai.usage.input_tokens", s->n_prompt);
        add_number(a, "gen_ai.usage.output_tokens", s->n_new);
        add_number(a, "bitnetd.usage.cached_tokens", s->n_cached);
    }
    if (s->finish)
        json_array_append_new(a, json_pack("{s:s,s:{s:{s:[{s:s}]}}}", "key",
                                           "gen_ai.response.finish_reasons", "value", "arrayValue",
                                           "values", "stringValue", s->finish));
    return a;
}

static void add_event(json_t *to, const char *name, uint64_t ns)
{
    if (ns)
        json_array_append_new(to, json_pack("{s:o,s:s}", "timeUnixNano", u64(ns), "name", name));
}

static json_t *events(const struct otlp_span *s)
{
    json_t *e = json_array();
    add_event(e, "queue", s->queue_ns);
    add_event(e, "prefill", s->prefill_ns);
    add_event(e, "first_token", s->first_ns);
    add_event(e, "end", s->end_ns);
    return e;
}

static json_t *span(const struct otlp_span *s, const char *model)
{
    char name[160];
    snprintf(name, sizeof name, "%s %s", s->method, s->route);
    json_t *j = json_pack("{s:s,s:s,s:s,s:i,s:o,s:o,s:o,s:o}", "traceId", s->trace.trace_id,
                          "spanId", s->trace.span_id, "name", name, "kind", KIND_SERVER,
                          "startTimeUnixNano", u64(s->start_ns), "endTimeUnixNano", u64(s->end_ns),
                          "attributes", attributes(s, model), "events", events(s));
    if (*s->trace.parent_id)
        json_object_set_new(j, "parentSpanId", json_string(s->trace.parent_id));
    if (s->error)
        json_object_set_new(j, "status", json_pack("{s:i}", "code", STATUS_ERROR));
    return j;
}

void otlp_write(struct buf *out, const struct otlp_span *s, unsigned n, const char *model)
{
    json_t *spans = json_array(), *resource = json_array();
    add_text(resource, "service.name", "bitnetd");
    add_text(resource, "service.version", BITNET_VERSION);
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(spans, span(&s[i], model));
    api_put(out, json_pack("{s:[{s:{s:o},s:[{s:{s:s,s:s},s:o}]}]}", "resourceSpans", "resource",
                           "attributes", resource, "scopeSpans", "scope", "name", "bitnetd",
                           "version", BITNET_VERSION, "spans", spans));
}
