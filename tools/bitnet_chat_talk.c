/* bitnet_chat_talk.c - the messages of a conversation, in memory and in files. */
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "tools/bitnet_chat.h"

static const char *const role_name[] = {
    [CHAT_SYSTEM] = "system", [CHAT_USER] = "user", [CHAT_ASSISTANT] = "assistant"
};
enum { N_ROLE = sizeof role_name / sizeof *role_name };

static const char *role_of(const json_t *msg)
{
    const char *s = json_string_value(json_object_get(msg, "role"));
    return s ? s : "";
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "conversation: no memory");
}

int talk_open(struct talk *t, struct err *e)
{
    t->msg = json_array();
    return t->msg ? 0 : no_memory(e);
}

void talk_close(struct talk *t)
{
    json_decref(t->msg);
}

/* 1 with a system's message, else 0. */
static size_t n_system(const struct talk *t)
{
    return !strcmp(role_of(json_array_get(t->msg, 0)), "system");
}

void talk_reset(struct talk *t)
{
    const size_t keep = n_system(t);
    while (json_array_size(t->msg) > keep)
        json_array_remove(t->msg, json_array_size(t->msg) - 1);
}

static json_t *message(const char *role, const char *text, size_t n)
{
    return json_pack("{s:s,s:o}", "role", role, "content", json_text(text, n));
}

int talk_system(struct talk *t, const char *text, size_t n, struct err *e)
{
    if (n_system(t))
        json_array_remove(t->msg, 0);
    return n && json_array_insert_new(t->msg, 0, message("system", text, n)) ? no_memory(e) : 0;
}

int talk_add(struct talk *t, const char *role, const char *text, size_t n, struct err *e)
{
    if (json_array_size(t->msg) >= TALK_MAX_MSG)
        return err_set(e, ERR_LIMIT, "conversation: %d messages, the most there may be; /reset "
                       "begins anew", TALK_MAX_MSG);
    return json_array_append_new(t->msg, message(role, text, n)) ? no_memory(e) : 0;
}

bool talk_pop(struct talk *t, const char *role)
{
    const size_t n = json_array_size(t->msg);
    if (!n || strcmp(role_of(json_array_get(t->msg, n - 1)), role))
        return false;
    json_array_remove(t->msg, n - 1);
    return true;
}

/* Borrowed from the JSON. */
static struct chat_msg msg_of(const json_t *j)
{
    const json_t *text = json_object_get(j, "content");
    struct chat_msg m = { .text = { json_string_value(text), json_string_length(text) } };
    for (unsigned r = 0; r < N_ROLE; r++)
        if (!strcmp(role_of(j), role_name[r]))
            m.role = (enum chat_role)r;
    return m;
}

static int encode(const struct talk *t, size_t max, struct tokens *out, struct err *e)
{
    const size_t n = json_array_size(t->msg);
    struct chat_msg *msg = calloc(n, sizeof *msg);
    if (!msg)
        return no_memory(e);
    for (size_t i = 0; i < n; i++)
        msg[i] = msg_of(json_array_get(t->msg, i));
    const struct chat_in in = { .msg = msg, .n_msg = (unsigned)n, .add_generation = true };
    int rc = chat_encode(t->form, t->vocab, &in, max, out, e);
    free(msg);
    return rc;
}

/* The oldest message and what follows it up to the next of a user's; 0 when the
 * last message would go. */
static unsigned forget(struct talk *t)
{
    const size_t at = n_system(t), n = json_array_size(t->msg);
    size_t end = at + 1;
    while (end < n && strcmp(role_of(json_array_get(t->msg, end)), "user"))
        end++;
    if (end >= n)
        return 0;
    for (size_t i = at; i < end; i++)
        json_array_remove(t->msg, at);
    return (unsigned)(end - at);
}

int talk_encode(struct talk *t, size_t max, struct tokens *out, unsigned *n_gone, struct err *e)
{
    *n_gone = 0;
    for (;;) {
        out->n = 0;
        const int rc = encode(t, max, out, e);
        const unsigned n = rc == ERR_LIMIT ? forget(t) : 0;
        if (!n)
            return rc;
        *n_gone += n;
    }
}

int talk_save(const struct talk *t, const char *path, struct err *e)
{
    struct file_out f;
    int rc = file_out_open(&f, path, e);
    if (rc)
        return rc;
    char *s = json_dumps(t->msg, JSON_INDENT(2));
    rc = s ? file_out_write(&f, s, strlen(s), e) : no_memory(e);
    free(s);
    if (!rc)
        rc = file_out_write(&f, "\n", 1, e);
    if (!rc)
        rc = file_out_commit(&f, e);
    file_out_abort(&f);
    return rc;
}

static int check_message(const char *path, const json_t *j, size_t i, struct err *e)
{
    bool known = false;
    for (unsigned r = 0; r < N_ROLE; r++)
        known = known || !strcmp(role_of(j), role_name[r]);
    if (!known || !json_is_string(json_object_get(j, "content")))
        return err_set(e, ERR_DATA, "%s: message %zu: expected an object with a role of system, "
                       "user or assistant, and a text as content", path, i + 1);
    if (i && !strcmp(role_of(j), "system"))
        return err_set(e, ERR_DATA, "%s: message %zu: of the system, expected only as the first",
                       path, i + 1);
    return 0;
}

int talk_load(struct talk *t, const char *path, struct err *e)
{
    char *text;
    size_t n;
    json_error_t why = { .line = 0 };
    int rc = read_text(path, &text, &n, e);
    if (rc)
        return rc;
    json_t *j = json_loadb(text ? text : "", n, 0, &why);
    free(text);
    if (!json_is_array(j) || json_array_size(j) > TALK_MAX_MSG)
        rc = err_set(e, ERR_DATA, "%s: %s%s, expected a JSON array of up to %d messages", path,
                     j ? "something else" : "no JSON: ", j ? "" : why.text, TALK_MAX_MSG);
    for (size_t i = 0; !rc && i < json_array_size(j); i++)
        rc = check_message(path, json_array_get(j, i), i, e);
    if (rc) {
        json_decref(j);
        return rc;
    }
    json_decref(t->msg);
    t->msg = j;
    return 0;
}
