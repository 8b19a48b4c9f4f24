/* hf_tokenizer.h - the tokenizer of a Hugging Face directory as the keys that
 * a GGUF file has.
 *
 * tokenizer.json says what the tokens, merges and splits are (without it
 * tokenizer.model, a SentencePiece file, does); tokenizer_config.json,
 * special_tokens_map.json, generation_config.json and config.json say which
 * tokens begin and end a text. Everything that the struct vocab reads is
 * written: whoever opens it tokenizes as the directory's own tokenizer does.
 * What cannot be expressed is refused by name. [any thread] */
#ifndef BITNET_MODEL_HF_TOKENIZER_H
#define BITNET_MODEL_HF_TOKENIZER_H

#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/model/gguf_put.h"

enum {
    HF_TOKENIZER_MAX = 128 << 20,     /* bytes of tokenizer.json or .model     */
    HF_CONFIG_MAX = 4 << 20           /* bytes of each of the other files      */
};

/* Appends all tokenizer.* keys. n_vocab: rows of the embedding; ids without a
 * token become "[PADi]", a token beyond them is refused. 0: as many tokens as
 * there are.
 *
 * tokenizer.ggml.pre is decided by the pre_tokenizer section; when that is
 * none of the known ones, by the ids of a fixed text. What is still unknown
 * gets a name that vocab_open refuses unless it is told another. */
int hf_tokenizer_read(struct gguf_put *out, const char *dir, uint32_t n_vocab, struct err *);

/* The same from memory; absent files have p NULL. name is for messages. */
struct hf_tokenizer_files {
    struct str tokenizer;             /* tokenizer.json                        */
    struct str pieces;                /* tokenizer.model                       */
    struct str config;                /* tokenizer_config.json                 */
    struct str special;               /* special_tokens_map.json               */
    struct str generation;            /* generation_config.json                */
    struct str model;                 /* config.json                           */
    struct str chat_template;         /* chat_template.jinja                   */
};
int hf_tokenizer_make(struct gguf_put *out, const struct hf_tokenizer_files *, const char *name,
                      uint32_t n_vocab, struct err *);

#endif
