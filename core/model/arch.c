/* arch.c - the rows, and the decision which activation a model was trained
 * with. SiLU and squared-ReLU models have the same tensor names and often the
 * same architecture string, and the wrong one gives fluent nonsense. */
#include "core/model/arch.h"

#include <stdio.h>
#include <string.h>

#include "bitnet_plugin.h"

#define NAMES "bitnet, bitnet-25, bitnet-b1.58, llama, qwen3 or gemma3"

static const struct arch table[] = {
    { "bitnet",       BNP_ROPE_HALVES, ARCH_SUB_NORM,  BNP_GLU_SILU,  true  },
    { "bitnet-25",    BNP_ROPE_HALVES, ARCH_SUB_NORM,  BNP_GLU_RELU2, true  },
    { "bitnet-b1.58", BNP_ROPE_HALVES, ARCH_SUB_NORM,  BNP_GLU_RELU2, false },
    /* Converters permute the q and k rows of llama files, hence pairs. */
    { "llama",        BNP_ROPE_PAIRS,  ARCH_OWN_HEAD,  BNP_GLU_SILU,  true  },
    { "qwen3",        BNP_ROPE_HALVES, ARCH_OWN_HEAD | ARCH_HEAD_NORM | ARCH_PROJ_NORM,
      BNP_GLU_SILU, true },
    /* Converters added 1 to gemma's own norms. */
    { "gemma3",       BNP_ROPE_HALVES, ARCH_OWN_HEAD | ARCH_HEAD_NORM | ARCH_PROJ_NORM |
                                       ARCH_POST_NORM | ARCH_EMBD_SCALE,
      BNP_GLU_GELU, true },
};

int arch_find(const struct arch **out, const struct gguf *g, struct err *e)
{
    struct str name;
    int rc = gguf_get_str(g, "general.architecture", &name, e);
    if (rc < 0)
        return rc;
    if (!rc)
        return err_set(e, ERR_DATA, "%s: key general.architecture is missing, expected " NAMES,
                       gguf_name(g));
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (str_is(name, table[i].name)) {
            *out = &table[i];
            return 0;
        }
    return err_set(e, ERR_UNSUPPORTED, "%s: architecture \"%.*s\", expected " NAMES, gguf_name(g),
                   name.n < 80 ? (int)name.n : 80, name.p);
}

static uint32_t glu_named(struct str s)
{
    if (str_is(s, "relu2") || str_is(s, "relu_squared"))
        return BNP_GLU_RELU2;
    if (str_is(s, "gelu_tanh") || str_is(s, "gelu_pytorch_tanh"))
        return BNP_GLU_GELU;
    return str_is(s, "silu") || str_is(s, "swish") ? BNP_GLU_SILU : 0;
}

const char *arch_glu_name(uint32_t glu)
{
    return glu == BNP_GLU_RELU2 ? "relu2" : glu == BNP_GLU_GELU ? "gelu_tanh" : "silu";
}

int arch_glu(const struct arch *a, const struct gguf *g, const char *override, struct hparams *hp,
             bool *sure, struct err *e)
{
    *sure = true;
    if (override) {
        hp->glu = glu_named(str_of(override));
        return hp->glu ? 0 : err_set(e, ERR_ARG, "activation \"%s\" is unknown, expected relu2, "
                                     "silu or gelu_tanh", override);
    }
    char key[64];
    snprintf(key, sizeof key, "%s.hidden_activation", a->name);
    struct str name;
    int rc = gguf_get_str(g, key, &name, e);
    if (rc < 0)
        return rc;
    if (rc) {
        hp->glu = glu_named(name);
        return hp->glu ? 0 : err_set(e, ERR_UNSUPPORTED, "%s: key %s is \"%.*s\", expected "
                                     "relu2, silu or gelu_tanh", gguf_name(g), key,
                                     name.n < 80 ? (int)name.n : 80, name.p);
    }
    hp->glu = a->glu;
    *sure = a->glu_sure;
    if (a->glu_sure)
        return 0;
    /* bitnet-b1.58 is the 2B-4T model and the default model of this project,
     * with squared ReLU, and also what newer converters call the SiLU models
     * with the 32,002-token vocabulary. */
    if (hp->n_vocab == 32002)
        hp->glu = BNP_GLU_SILU;
    *sure = hp->n_vocab == 32002 || (hp->n_vocab == 128256 && hp->n_embd == 2560) ||
            (hp->n_vocab == 2048 && hp->n_embd == 256);
    return 0;
}
