/* fuzz_conf.c - any bytes as a configuration file.
 *
 * What is refused must say in which line; what is accepted must hold values
 * within the table's bounds. */
#include <stdlib.h>
#include <string.h>

#include "core/base/conf_keys.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct conf c;
    struct err e = { 0 };
    if (conf_load_mem(&c, (const char *)data, n, "f", NULL, NULL, 0, &e)) {
        require(e.code == ERR_ARG && !strncmp(e.text, "f:", 2) && atoi(e.text + 2) > 0);
        require(!strchr(e.text, '\n') && !c.host && !c.option);
        return 0;
    }
    for (unsigned i = 0; i < conf_n_key; i++) {
        const void *at = (char *)&c + conf_key[i].at;
        if (conf_key[i].type == CONF_NUMBER)
            require(*(const uint32_t *)at >= conf_key[i].min &&
                    *(const uint32_t *)at <= conf_key[i].max);
        if (conf_key[i].type == CONF_TEXT || conf_key[i].type == CONF_WORD)
            require(*(char *const *)at != NULL);
    }
    conf_free(&c);
    return 0;
}
