/* Placeholder: answers until the real file stands here. */
#include "sp.h"

uint32_t sp_cpu_features(void)
{ return 0; }
uint32_t sp_cpu_mask(void)
{ return 0; }
uint32_t sp_cpu_mask_set(uint32_t mask)
{ (void)mask; return 0; }
const char * sp_cpu_feature_name(uint32_t bit)
{ (void)bit; return 0; }
