/* bitnet_chat_line.c - a line of standard input: libedit's, or getline's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <histedit.h>

#include "tools/bitnet_chat.h"

enum { N_HISTORY = 500 };         /* lines that the arrow keys go back         */

struct line {
    EditLine *edit;               /* NULL: no terminal                         */
    History *history;
    char *text;                   /* getline's                                 */
    size_t cap;
};

static char *prompt(EditLine *edit)
{
    static char text[] = "> ";
    (void)edit;
    return text;
}

static int open_edit(struct line *l, struct err *e)
{
    HistEvent event;
    l->edit = el_init("bitnet", stdin, stdout, stderr);
    l->history = history_init();
    if (!l->edit || !l->history)
        return err_set(e, ERR_NOMEM, "terminal: no memory for editing lines");
    history(l->history, &event, H_SETSIZE, N_HISTORY);
    el_set(l->edit, EL_PROMPT, prompt);
    el_set(l->edit, EL_EDITOR, "emacs");
    el_set(l->edit, EL_HIST, history, l->history);
    el_source(l->edit, NULL);     /* what ~/.editrc wants */
    return 0;
}

int line_open(struct line **out, struct err *e)
{
    struct line *l = *out = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_NOMEM, "chat: no memory");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? open_edit(l, e) : 0;
}

void line_close(struct line *l)
{
    if (!l)
        return;
    if (l->edit)
        el_end(l->edit);
    if (l->history)
        history_end(l->history);
    free(l->text);
    free(l);
}

bool line_is_terminal(const struct line *l)
{
    return l->edit;
}

enum line_end line_next(struct line *l, const char **text, size_t *n)
{
    HistEvent event;
    errno = 0;
    if (l->edit) {
        int count = 0;
        *text = el_gets(l->edit, &count);
        *n = *text && count > 0 ? (size_t)count : 0;
        if (*n > 1)
            history(l->history, &event, H_ENTER, *text);
    } else {
        const ssize_t count = getline(&l->text, &l->cap, stdin);
        *text = l->text;
        *n = count > 0 ? (size_t)count : 0;
    }
    if (!*n)
        return errno == EINTR ? LINE_INTERRUPTED : LINE_END;
    *n -= (*text)[*n - 1] == '\n';
    return LINE_TEXT;
}
