/* api_prompt.c - reading what is to be continued, or to become a vector. */
#include "core/serve/api_prompt.h"

static int read_one(struct api_in *in, const json_t *j, const char *want, struct api_prompt *to)
{
    static const struct api_field any = { .max = 0 };
    to->is_token = json_is_array(j);
    if (json_is_string(j))
        return api_read_text(in, j, &any, &to->text);
    return to->is_token ? api_read_ids(in, j, &any, &to->ids) : api_wrong_type(in, want);
}

int api_read_prompts(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct api_prompts *out = to;
    const bool is_one = !json_is_array(j) || json_is_integer(json_array_get(j, 0));
    const size_t n = is_one ? 1 : json_array_size(j);
    if (!n)
        return api_bad_value(in, "the array is empty");
    if (n > f->max)
        return api_bad_value(in, "%zu texts, at most %u are taken", n, (unsigned)f->max);
    struct api_prompt *p = arena_alloc(in->arena, n, sizeof *p);
    int rc = p ? 0 : api_no_memory(in);
    if (!rc && is_one)
        rc = read_one(in, j, "a string, an array of token ids, or an array of these", p);
    for (size_t i = 0; !rc && !is_one && i < n; i++) {
        const size_t at = api_enter_index(in, i);
        rc = read_one(in, json_array_get(j, i), "a string or an array of token ids", &p[i]);
        api_leave(in, at);
    }
    *out = (struct api_prompts){ p, (unsigned)n };
    return rc;
}

int api_add_prompts(struct gen *g, const struct api_prompts *list, unsigned flags,
                    struct api_error *e)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < list->n; i++) {
        const struct api_prompt *p = &list->p[i];
        rc = p->is_token ? gen_add(g, p->ids.id, p->ids.n, e) : gen_add_text(g, p->text, flags, e);
    }
    return rc;
}
