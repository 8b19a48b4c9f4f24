/* fuzz_config.c - any bytes as config.json: refused with a line, or keys that
 * a container takes and whose numbers are bounded. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/arch.h"
#include "core/model/hf_json.h"
#include "core/model/hf_names.h"
#include "core/model/hparams.h"
#include "tests/fuzz/fuzz.h"

static void close_nothing(void *owner)
{
    (void)owner;
}

/* The keys as the model reads them, with an embedding that fits. */
static void read_keys(const struct hf_config *c, const struct gguf_put *put)
{
    const struct gguf_tensor embd = { .name = { "token_embd.weight", 17 }, .n_dims = 2,
                                      .ne = { c->n_embd, c->n_vocab, 1, 1 } };
    const struct gguf_parts parts = { .name = "fuzz", .kv = put->b.p, .kv_size = put->b.n,
                                      .n_kv = put->n, .tensor = &embd, .n_tensor = 1,
                                      .close = close_nothing };
    struct gguf *g;
    const struct arch *arch;
    struct hparams hp;
    struct err e = { 0 };
    require(!gguf_open_parts(&g, &parts, &e) && !arch_find(&arch, g, &e));
    const int rc = hparams_read(&hp, g, arch, &e);
    fuzz_err(rc, &e);
    require(rc || (hp.n_embd == c->n_embd && hp.n_head == c->n_head && hp.head_dim == c->head_dim));
    bool sure;
    require(rc || (!arch_glu(arch, g, NULL, &hp, &sure, &e) && sure));
    gguf_close(g);
}

static void check_names(const struct hf_config *c)
{
    static const char *const name[] = { "model.layers.0.self_attn.q_proj.weight", "lm_head.weight",
                                        "model.layers.1.mlp.down_proj.weight_scale" };
    for (unsigned i = 0; i < 3; i++) {
        const struct hf_name n = hf_name_of(c, (struct str){ name[i], strlen(name[i]) });
        require(n.module.n <= strlen(name[i]) && strlen(n.gguf) < sizeof n.gguf);
        (void)hf_config_as_floats(c, n.module.p, n.module.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float factor[4096];
    json_t *root;
    struct err e = { 0 };
    int rc = hf_json_parse(&root, "fuzz", data, size, &e);
    fuzz_err(rc, &e);
    if (rc)
        return 0;
    struct hf_config c;
    rc = hf_config_read(&c, root, "fuzz", &e);
    fuzz_err(rc, &e);
    if (!rc) {
        struct gguf_put put = { .n = 0 };
        hf_config_put(&c, "fuzz", &put);
        require(!put.b.failed && c.head_dim / 2 <= 4096);
        read_keys(&c, &put);
        check_names(&c);
        if (c.rope_llama3)
            hf_config_rope(&c, factor);
        for (uint32_t i = 0; c.rope_llama3 && i < c.head_dim / 2; i++)
            require(isfinite(factor[i]) && factor[i] >= 0);
        buf_free(&put.b);
    }
    json_decref(root);
    return 0;
}
