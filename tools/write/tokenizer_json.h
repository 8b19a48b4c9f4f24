/* tokenizer_json.h - a GGUF's tokenizer keys as the files that Hugging Face
 * directories have instead: the way back from core/model/hf_tokenizer.h. */
#ifndef BITNET_TOOLS_WRITE_TOKENIZER_JSON_H
#define BITNET_TOOLS_WRITE_TOKENIZER_JSON_H

#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/model/gguf.h"

/* Appends tokenizer.json. Byte-level BPE with one of the pre-tokenizers
 * llama-bpe, qwen2, gpt-2 and falcon3; or SPM, whose scores become the order of
 * merges. pairs: a merge is ["a", "b"], else "a b". */
int tokenizer_json(struct buf *out, const struct gguf *, bool pairs, struct err *);
/* Appends tokenizer_config.json: bos, eos, unk and pad tokens, add_bos_token,
 * add_eos_token, chat_template. */
int tokenizer_json_config(struct buf *out, const struct gguf *, struct err *);

#endif
