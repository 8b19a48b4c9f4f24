/* api_params.c - one table for the fields that generating endpoints share. */
#include "core/serve/api_params.h"

/* sample_check knows the ranges; what was read before passes it, so a
 * complaint is about this field. */
int api_read_sample(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct gen_params *p = (struct gen_params *)(void *)((char *)to - f->at);
    struct err e = { 0 };
    int rc = api_read_float(in, j, f, to);
    if (!rc && sample_check(&p->sample, &e))
        rc = api_fail(in, 400, "invalid_value", "%s", e.text);
    return rc;
}

static int read_seed(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct gen_params *p = (struct gen_params *)(void *)((char *)to - f->at);
    p->has_seed = true;
    return api_read_u64(in, j, f, to);
}

static int add_stop(struct api_in *in, const json_t *j, struct gen_params *p)
{
    static const struct api_field length = { .min = 1, .max = REPLY_MAX_STOP_SIZE };
    if (!json_is_string(j))
        return api_wrong_type(in, "a string or an array of strings");
    if (p->n_stop == API_MAX_STOP)
        return api_bad_value(in, "more than %d strings", API_MAX_STOP);
    return api_read_text(in, j, &length, &p->stop[p->n_stop++]);
}

int api_read_stop(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    if (!json_is_array(j))
        return add_stop(in, j, to);
    int rc = 0;
    for (size_t i = 0; !rc && i < json_array_size(j); i++)
        rc = add_stop(in, json_array_get(j, i), to);
    return rc;
}

static int read_stream_options(struct api_in *in, const json_t *j, const struct api_field *f,
                               void *to)
{
    static const struct api_field field[] = { { "include_usage", api_read_bool, 0, 0, 0 } };
    const struct api_common *c = (const struct api_common *)(void *)((char *)to - f->at);
    if (!json_is_object(j))
        return api_wrong_type(in, "an object");
    if (!c->stream)
        return api_bad_value(in, "needs stream to be true");
    return api_read_fields(in, j, field, 1, to);
}

#define GEN(field) offsetof(struct gen_params, field)

static const struct api_field gen_field[] = {
    { "temperature", api_read_sample, GEN(sample.temperature), 0, 0 },
    { "top_p", api_read_sample, GEN(sample.top_p), 0, 0 },
    { "min_p", api_read_sample, GEN(sample.min_p), 0, 0 },
    { "top_k", api_read_u32, GEN(sample.top_k), 0, UINT32_MAX },
    { "repetition_penalty", api_read_sample, GEN(sample.repeat_penalty), 0, 0 },
    { "repeat_penalty", api_read_sample, GEN(sample.repeat_penalty), 0, 0 },
    { "seed", read_seed, GEN(sample.seed), 0, INT64_MAX },
    { "stop", api_read_stop, 0, 0, 0 },
    { "n", api_read_u32, GEN(n), 1, GEN_MAX_CHOICE },
};

static const struct api_field common_field[] = {     /* stream before its options */
    { "model", api_read_name, offsetof(struct api_common, model), 0, 0 },
    { "stream", api_read_bool, offsetof(struct api_common, stream), 0, 0 },
    { "stream_options", read_stream_options, offsetof(struct api_common, include_usage), 0, 0 },
};

int api_read_common(struct api_in *in, const json_t *root, struct api_common *out)
{
    int rc = api_read_fields(in, root, common_field, sizeof common_field / sizeof *common_field,
                             out);
    return rc ? rc : api_read_fields(in, root, gen_field, sizeof gen_field / sizeof *gen_field,
                                     &out->gen);
}
