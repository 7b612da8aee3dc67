/* What native code can do to its host: MODE 1 writes to address zero, 2 never returns from a step,
   3 puts out what is not a number, 4 takes memory until there is none. */

#include <stdlib.h>
#include <string.h>

#include "fmi2.h"

enum { LEVEL, MODE };

static double values_of[2] = {0.0, 1.0};

EXPORT void *fmi2Instantiate(Text name, int kind, Text guid, Text resources, const Callbacks *host, int visible, int logging) { return values_of; }
EXPORT void fmi2FreeInstance(void *model) {}

EXPORT Status fmi2GetReal(void *model, const Reference *which, size_t n, double *values)
{
    for (size_t i = 0; i < n; i++) values[i] = values_of[which[i]];
    return OK;
}

EXPORT Status fmi2SetReal(void *model, const Reference *which, size_t n, const double *values)
{
    for (size_t i = 0; i < n; i++) values_of[which[i]] = values[i];
    return OK;
}

EXPORT Status fmi2DoStep(void *model, double time, double step, int keep)
{
    switch ((int)values_of[MODE]) {
    case 1:
        *(volatile int *)0 = 1;
        break;
    case 2:
        for (volatile int forever = 1; forever;) {}
        break;
    case 3:
        values_of[LEVEL] = 0.0 / values_of[LEVEL];
        break;
    case 4:
        for (;;) memset(malloc(1 << 24), 1, 1 << 24);
    }
    return OK;
}
