/* use_header.c - a plugin in the common subset of C99 and C++11, to compile the
 * header everywhere and to look at the note that comes out. */
#include "bitnet_plugin.h"

BNP_NOTE("org.bitnetd.test.note", "7.1-x", BNP_ISA(X86_AVX2) | (UINT64_C(1) << 40), BNP_DEV_GPU,
         BNP_FAM_LINEAR | BNP_FAM_POINT)

static int device_count(const bnp_host *host, uint32_t *n)
{
    *n = BNP_HAS(host, bnp_host, parallel) ? 0 : 0;
    return BNP_OK;
}

static int device_open(const bnp_host *host, uint32_t index, bnp_device **out)
{
    (void)index;
    *out = NULL;
    host->report(host->ctx, BNP_E_DEVICE, "no device here");
    return BNP_E_DEVICE;
}

static void device_close(bnp_device *d)
{
    (void)d;
}

/* In order, since C++11 knows no designators. */
const bnp_plugin bnp_plugin_v1 = {
    sizeof(bnp_plugin), BNP_ABI_MAJOR, BNP_ABI_MINOR, BNP_MIN_HOST_MINOR, { 0, 0, 0 },
    BNP_ISA(X86_AVX2) | (UINT64_C(1) << 40), "org.bitnetd.test.note", "7.1-x", "test", device_count,
    device_open, device_close, NULL, NULL, NULL, NULL, NULL, NULL, NULL
};
