/* device.c - the one device: computing happens in the calling thread. */
#include "ref.h"

int ref_device_count(const bnp_host *host, uint32_t *n)
{
    (void)host;
    *n = 1;
    return BNP_OK;
}

int ref_device_open(const bnp_host *host, uint32_t index, bnp_device **out)
{
    if (!index)
        return kit_device_open(host, index, out);
    *out = NULL;
    host->report(host->ctx, BNP_E_INVALID, "device index above 0, this plugin has one device");
    return BNP_E_INVALID;
}

int ref_device_info(bnp_device *d, bnp_device_info *info)
{
    (void)d;
    static const bnp_device_info mine = {
        .kind = BNP_DEV_CPU,
        .flags = BNP_DEV_HOST_MEM | BNP_DEV_SYNC,
        .name = "scalar reference",
    };
    sized_fill(info, &mine, sizeof mine);
    return BNP_OK;
}
