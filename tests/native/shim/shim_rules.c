/* When a rule meets a call: by the number of the call among those that the rule sees, and by chance from the seed. */
#include "shim.h"

/* The finaliser of splitmix64: every bit of the answer depends on every bit of the question. */
static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}

static int by_chance(const shim_rule *rule, uint64_t number)
{
    uint64_t place = (uint64_t)(rule - shim_shared->rules) + 1;
    return mixed(mixed(mixed(shim_shared->seed) + place) + number) >> 32 < rule->chance;
}

/* One of the `count` that it may meet; several threads may ask for the last. */
static int take(shim_rule *rule)
{
    uint64_t met = __atomic_load_n(&rule->met, __ATOMIC_RELAXED);
    do {
        if (rule->count != 0 && met >= rule->count) {
            return 0;
        }
    } while (!__atomic_compare_exchange_n(&rule->met, &met, met + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return 1;
}

int shim_meets(shim_rule *rule)
{
    uint64_t number = __atomic_fetch_add(&rule->seen, 1, __ATOMIC_RELAXED);
    if (number < rule->skip || (number - rule->skip + 1) % rule->every != 0) {
        return 0;
    }
    return by_chance(rule, number) && take(rule);
}
