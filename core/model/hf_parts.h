/* hf_parts.h - a tokenizer while it is read, for the files that read it.
 *
 * Texts are borrowed from the JSON values or the mapped bytes, which outlive
 * the reading. The order is: kind, tokens, merges, splits, roles, keys. */
#ifndef BITNET_MODEL_HF_PARTS_H
#define BITNET_MODEL_HF_PARTS_H

#include <stdbool.h>

#include "core/model/hf_json.h"
#include "core/model/hf_tokenizer.h"
#include "core/model/vocab_parts.h"

struct hf_token {
    struct str text;              /* p NULL: no token has this id              */
    uint8_t type;                 /* enum token_type                           */
    float score;                  /* SPM: larger merges first                  */
};

enum {
    HF_MAX_ENDS = 8, HF_PRE_SIZE = 64,
    HF_ADDED_SCORE = -1000        /* SPM: of added tokens, which no merge makes */
};

struct hf_reading {
    const char *name;             /* of the directory, for messages            */
    struct err *e;
    const struct hf_tokenizer_files *file;
    json_t *json;                 /* tokenizer.json; NULL: from tokenizer.model */
    json_t *config, *special, *generation, *model;    /* or NULL               */
    const json_t *vocab, *merges; /* of json                                   */
    bool spm;                     /* else byte-level BPE                       */
    bool add_space;               /* SPM                                       */
    uint32_t n;                   /* tokens                                    */
    struct hf_token *token;       /* [n]                                       */
    uint32_t n_merge;
    char pre[HF_PRE_SIZE];        /* tokenizer.ggml.pre                        */
    bool pre_known;               /* BPE: it is one of our rules' names        */
    int32_t bos, unk, pad;        /* -1: none                                  */
    int32_t end[HF_MAX_ENDS];     /* tokens that end a text, the EOS first     */
    unsigned n_end;
    int add_bos, add_eos;         /* -1: nothing says                          */
    struct str chat_template;     /* p NULL: none                              */
};

/* "DIR/FILE: ..." in the reading's err. */
__attribute__((format(printf, 4, 5)))
int hf_fail(const struct hf_reading *, int code, const char *file, const char *fmt, ...);

/* A member that is an array or an object, or NULL where it is absent or null; wrong
 * types give an error. path names the object in messages. */
int hf_member(const struct hf_reading *, const char *file, const json_t *object, const char *name,
              json_type, const json_t **out);
/* true, false, or the default when it is absent, null or something else. */
bool hf_flag(const json_t *object, const char *name, bool otherwise);
/* A string member; p NULL when there is none. */
struct str hf_text(const json_t *object, const char *name);

/* hf_vocab.c: token[], n and n_merge from tokenizer.json. n is set already
 * unless it is 0. */
int hf_vocab_read(struct hf_reading *);
/* Id of a token's text, -1 when there is none. */
int32_t hf_vocab_find(const struct hf_reading *, struct str text);
/* A place in token[], refused when another text has it. */
int hf_vocab_put(struct hf_reading *, const char *file, json_int_t id, struct str text,
                 uint8_t type);
/* tokens, scores, token_type, merges */
void hf_vocab_keys(const struct hf_reading *, struct gguf_put *);

/* hf_pre.c: spm, add_space, ignore_merges and pre from the sections of
 * tokenizer.json. */
int hf_pre_kind(struct hf_reading *);
int hf_pre_read(struct hf_reading *);

/* hf_pre_ids.c: another pre where the section is none of the known ones, but the
 * ids of the converters' text are. Needs all the rest. */
int hf_pre_ids(struct hf_reading *, const struct gguf_put *keys);

/* hf_pieces.c: everything that the two above read, and bos, unk, pad and end[] as
 * defaults, from tokenizer.model. */
int hf_pieces_read(struct hf_reading *);

/* hf_roles.c: bos, unk, pad, end[], add_bos, add_eos, chat_template. */
int hf_roles_read(struct hf_reading *);

#endif
