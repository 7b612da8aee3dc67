/* Exponential decay, dx/dt = -rate * x, solved exactly in each step; a negative rate is refused. */

#include <math.h>
#include <stdlib.h>

#include "fmi2.h"

#ifndef DEFAULT_RATE
#define DEFAULT_RATE 1.0
#endif

enum { LEVEL, RATE, START };

typedef struct {
    double value[3];
    Callbacks host;
    Text name;
} Decay;

EXPORT void *fmi2Instantiate(Text name, int kind, Text guid, Text resources, const Callbacks *host, int visible, int logging)
{
    Decay *decay = calloc(1, sizeof *decay);
    if (decay) {
        *decay = (Decay){.value = {1.0, DEFAULT_RATE, 1.0}, .host = *host, .name = name};
    }
    return decay;
}

EXPORT void fmi2FreeInstance(void *model) { free(model); }

EXPORT Status fmi2GetReal(void *model, const Reference *which, size_t n, double *values)
{
    Decay *decay = model;
    for (size_t i = 0; i < n; i++) {
        if (which[i] > START) return ERROR;
        values[i] = decay->value[which[i]];
    }
    return OK;
}

EXPORT Status fmi2SetReal(void *model, const Reference *which, size_t n, const double *values)
{
    Decay *decay = model;
    for (size_t i = 0; i < n; i++) {
        if (which[i] != RATE && which[i] != START) return ERROR;
        decay->value[which[i]] = values[i];
        if (which[i] == START) decay->value[LEVEL] = values[i];
    }
    return OK;
}

EXPORT Status fmi2DoStep(void *model, double time, double step, int keep)
{
    Decay *decay = model;
    if (decay->value[RATE] < 0) {
        decay->host.logger(decay->host.environment, decay->name, ERROR, "logStatusError", "the rate must not be negative");
        return ERROR;
    }
    decay->value[LEVEL] *= exp(-decay->value[RATE] * step);
    return OK;
}
