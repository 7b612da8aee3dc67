/* A room with one thermal capacity and a controlled heater, solved exactly for the power of each step.

   capacity * dT/dt = heat_loss * (outdoor - T) + power, as in
   https://en.wikipedia.org/wiki/Lumped-element_model#Thermal_systems */

#include <math.h>
#include <stdlib.h>

#include "fmi2.h"

#ifndef DEFAULT_LOSS
#define DEFAULT_LOSS 120.0
#endif

/* °C, kWh; W/K, kJ/K, °C, W, °C */
enum { TEMPERATURE, ENERGY, HEAT_LOSS, CAPACITY, SETPOINT, MAX_POWER, OUTDOOR, COUNT };

#define GAIN 1000.0 /* W for each kelvin below the set point */

typedef struct {
    double value[COUNT];
} Room;

EXPORT void *fmi2Instantiate(Text name, int kind, Text guid, Text resources, const Callbacks *host, int visible, int logging)
{
    Room *room = calloc(1, sizeof *room);
    if (room) *room = (Room){{20.0, 0.0, DEFAULT_LOSS, 5000.0, 20.0, 3000.0, 0.0}};
    return room;
}

EXPORT void fmi2FreeInstance(void *model) { free(model); }

EXPORT Status fmi2GetReal(void *model, const Reference *which, size_t n, double *values)
{
    Room *room = model;
    for (size_t i = 0; i < n; i++) {
        if (which[i] >= COUNT) return ERROR;
        values[i] = room->value[which[i]];
    }
    return OK;
}

EXPORT Status fmi2SetReal(void *model, const Reference *which, size_t n, const double *values)
{
    Room *room = model;
    for (size_t i = 0; i < n; i++) {
        if (which[i] < HEAT_LOSS || which[i] >= COUNT) return ERROR;
        room->value[which[i]] = values[i];
    }
    return OK;
}

EXPORT Status fmi2DoStep(void *model, double time, double step, int keep)
{
    double *is = ((Room *)model)->value;
    if (is[HEAT_LOSS] <= 0 || is[CAPACITY] <= 0) return ERROR;
    double holding = is[HEAT_LOSS] * (is[SETPOINT] - is[OUTDOOR]);
    double wanted = holding + GAIN * (is[SETPOINT] - is[TEMPERATURE]);
    double power = fmin(fmax(wanted, 0.0), is[MAX_POWER]);
    double end = is[OUTDOOR] + power / is[HEAT_LOSS];
    is[TEMPERATURE] = end + (is[TEMPERATURE] - end) * exp(-is[HEAT_LOSS] * step / (is[CAPACITY] * 1000.0));
    is[ENERGY] += power * step / 3.6e6;
    return OK;
}
