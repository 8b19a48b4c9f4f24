/* grammar_tree.h - a grammar as it was written: rules, and trees of what they
 * are made of. Lives from grammar_parse to the end of grammar_compile. */
#ifndef BITNET_ENGINE_GRAMMAR_TREE_H
#define BITNET_ENGINE_GRAMMAR_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/base/err.h"

enum node_kind {
    NODE_TEXT,               /* bytes                                           */
    NODE_CLASS,              /* one code point out of ranges                    */
    NODE_REF,                /* a rule                                          */
    NODE_SEQ,                /* the parts, one after the other; none: nothing   */
    NODE_ALT,                /* one of the parts                                */
    NODE_REPEAT              /* its only part, min to max times                 */
};

#define REPEAT_FOREVER UINT32_MAX

struct range {
    uint32_t lo, hi;         /* code points, both included                      */
};

struct node {
    enum node_kind kind;
    uint16_t height;         /* of the tree under it: bounds every recursion    */
    uint32_t at;             /* offset in the text                              */
    struct node *parent, *first, *last, *prev, *next;
    union {
        struct str text;
        struct {
            const struct range *range;    /* sorted, apart, without surrogates  */
            uint32_t n_range;
        };
        struct {
            uint32_t rule;                /* of a rule's body: its own number   */
            struct node *same;            /* the next mention of that rule      */
        };
        struct {
            uint32_t min, max;
        };
    };
    uint32_t need;           /* parts that derive() has not settled yet         */
    bool can_empty;          /* the empty text is one of its texts              */
    bool can_end;            /* it has a text at all                            */
};

struct rule {
    struct str name;
    uint32_t at;             /* where it is defined, or first mentioned         */
    struct node *body;       /* NULL: not defined                               */
    struct node *ref;        /* its mentions                                    */
    bool used;               /* reachable from root                             */
};

struct tree {
    struct arena arena;
    const char *text;
    size_t n;
    struct rule *rule;       /* [n_rule], 0 is root                             */
    uint32_t n_rule;
    uint32_t n_node, n_ref;
};

/* Zeroed tree; the text must outlive it. tree_free afterwards, always. */
int grammar_parse(struct tree *, const char *text, size_t n, struct err *);
/* All names defined, no left recursion, every rule has a text; marks what is
 * used. note: one line about the first rule that is not, or "". */
int grammar_check(struct tree *, char note[160], struct err *);
void grammar_tree_free(struct tree *);

/* "grammar: line 3, column 5: ..." for the place at. */
__attribute__((format(printf, 5, 6)))
int grammar_fail(const struct tree *, uint32_t at, int code, struct err *, const char *fmt, ...);

#endif
