/* A model for tests, as FMI 2 (co-simulation and model exchange) or, with -DFMI3, FMI 3.
   The integer `behaviour` selects what it does wrong; see the enumeration. */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
typedef unsigned int Reference;
typedef const char *Text;
typedef int Status;
enum { OK, WARNING, DISCARD, ERROR };
enum { NORMAL, CRASH, EXIT, LOOP, NAN_MIDWAY, DISCARDS, TERMINATES, WARNS, REPORTS, FAILS, EVENT_LOOP, INFINITE, EVENTS };

typedef struct {
    double level, input, time, table[6];
    long long integers[8]; /* behaviour, steps, mode, small, big, unsigned */
    bool flag, events;
    char text[32];
    void *logger, *environment;
} Model;

static Model it;

static void misbehave(double time, double step)
{
    bool midway = time > 0.45 && time < 0.55;
    switch (it.integers[0]) {
    case CRASH: if (midway) *(volatile int *)0 = 1; break;
    case EXIT: if (midway) exit(0); break;
    case LOOP: for (volatile int forever = midway; forever;) {} break;
    }
    it.time = time + step;
    it.level += it.input * step;
    it.integers[1]++;
    if (it.integers[0] == NAN_MIDWAY) it.table[0] = it.time > 0.45 && it.time < 0.65 ? NAN : 1;
    if (it.integers[0] == INFINITE) it.level = INFINITY;
}

static void *start(Text token)
{
    it = (Model){.input = 1, .table = {1, 2, 3, 4, 5, 6}, .integers = {0, 0, 1, 0, 0, 0}, .text = "abc"};
    return strcmp(token, "{refused}") ? &it : 0;
}

/* References of FMI 3 are unique over all types, so their last digit is the place. */
#define PLACE(r) ((r) % 10)

#define NOPE(name) EXPORT Status name(void) { return ERROR; }
#define SAME(name) EXPORT Status name(void) { return OK; }
#define GET(name, type, field) \
    EXPORT Status name(void *m, const Reference *r, size_t n, type *v SIZE) { for (size_t i = 0; i < n; i++) v[i] = field[PLACE(r[i])]; return OK; }
#define SET(name, type, field) \
    EXPORT Status name(void *m, const Reference *r, size_t n, const type *v SIZE) { for (size_t i = 0; i < n; i++) field[PLACE(r[i])] = v[i]; return OK; }

#ifndef FMI3
#define SIZE

typedef void (*Logger)(void *environment, Text instance, Status status, Text category, Text message, ...);
typedef struct { Logger logger; void *allocate, *release, *finished, *environment; } Callbacks;
typedef struct { int needed, terminate, nominals, values, defined; double time; } EventInfo;

EXPORT Text fmi2GetTypesPlatform(void) { return "default"; }
EXPORT Text fmi2GetVersion(void) { return "2.0"; }
EXPORT void *fmi2Instantiate(Text name, int kind, Text guid, Text resources, const Callbacks *host, int visible, int logging)
{
    void *made = start(guid);
    it.logger = host->logger;
    it.environment = host->environment;
    return made;
}
EXPORT void fmi2FreeInstance(void *m) {}
EXPORT Status fmi2DoStep(void *m, double time, double step, int keep)
{
    long long behaviour = it.integers[0];
    bool late = time > 0.45;
    if (late && (behaviour == DISCARDS || behaviour == TERMINATES)) return DISCARD;
    if (late && behaviour == REPORTS) ((Logger)it.logger)(it.environment, "m", WARNING, "log", "the %s is low", "level");
    if (late && behaviour == FAILS) return ERROR;
    misbehave(time, step);
    return late && behaviour == WARNS ? WARNING : OK;
}
EXPORT Status fmi2GetBooleanStatus(void *m, int kind, int *v) { *v = it.integers[0] == TERMINATES; return OK; }
EXPORT Status fmi2GetRealStatus(void *m, int kind, double *v) { *v = it.time; return OK; }

/* Model exchange: an event at 0.5 s, where the level becomes 10. */
EXPORT Status fmi2SetTime(void *m, double time) { it.time = time; return OK; }
EXPORT Status fmi2NewDiscreteStates(void *m, EventInfo *info)
{
    bool reached = it.time > 0.49;
    if (reached) it.level = 10;
    *info = (EventInfo){.needed = it.integers[0] == EVENT_LOOP && reached, .terminate = it.integers[0] == TERMINATES && reached, .defined = !reached, .time = 0.5};
    return OK;
}
EXPORT Status fmi2CompletedIntegratorStep(void *m, int keep, int *event, int *terminate) { *event = *terminate = 0; return OK; }
GET(fmi2GetReal, double, (&it.level))
SET(fmi2SetReal, double, (&it.level))
GET(fmi2GetInteger, int, it.integers)
SET(fmi2SetInteger, int, it.integers)
GET(fmi2GetBoolean, int, (&it.flag))
SET(fmi2SetBoolean, int, (&it.flag))
EXPORT Status fmi2GetString(void *m, const Reference *r, size_t n, Text *v) { for (size_t i = 0; i < n; i++) v[i] = it.text; return OK; }
EXPORT Status fmi2SetString(void *m, const Reference *r, size_t n, const Text *v) { if (n) strncpy(it.text, v[0], 31); return OK; }
SAME(fmi2SetDebugLogging) SAME(fmi2SetupExperiment) SAME(fmi2EnterInitializationMode) SAME(fmi2ExitInitializationMode)
SAME(fmi2Terminate) SAME(fmi2EnterEventMode) SAME(fmi2EnterContinuousTimeMode) SAME(fmi2SetContinuousStates)
SAME(fmi2GetDerivatives) SAME(fmi2GetEventIndicators) SAME(fmi2GetContinuousStates) SAME(fmi2GetNominalsOfContinuousStates)
NOPE(fmi2Reset) NOPE(fmi2GetFMUstate) NOPE(fmi2SetFMUstate) NOPE(fmi2FreeFMUstate) NOPE(fmi2SerializedFMUstateSize)
NOPE(fmi2SerializeFMUstate) NOPE(fmi2DeSerializeFMUstate) NOPE(fmi2GetDirectionalDerivative) NOPE(fmi2SetRealInputDerivatives)
NOPE(fmi2GetRealOutputDerivatives) NOPE(fmi2CancelStep) NOPE(fmi2GetStatus) NOPE(fmi2GetIntegerStatus) NOPE(fmi2GetStringStatus)

#else
#define SIZE , size_t count

typedef void (*Logger)(void *environment, Status status, Text category, Text message);

EXPORT Text fmi3GetVersion(void) { return "3.0"; }
EXPORT void *fmi3InstantiateCoSimulation(Text name, Text token, Text resources, bool visible, bool logging, bool events, bool early, const Reference *required, size_t n, void *environment, void *logger, void *update)
{
    void *made = start(token);
    it.logger = logger;
    it.environment = environment;
    it.events = events && early;
    return made;
}
EXPORT void *fmi3InstantiateModelExchange(Text name, Text token, Text resources, bool visible, bool logging, void *environment, void *logger)
{
    return start(token);
}
EXPORT void fmi3FreeInstance(void *m) {}
EXPORT Status fmi3DoStep(void *m, double time, double step, bool keep, bool *event, bool *terminate, bool *early, double *last)
{
    long long behaviour = it.integers[0];
    bool late = time > 0.45;
    *event = *early = false;
    *terminate = late && behaviour == TERMINATES;
    *last = *terminate ? time + step / 2 : time + step;
    if (late && behaviour == DISCARDS) return DISCARD;
    if (late && behaviour == REPORTS) ((Logger)it.logger)(it.environment, WARNING, "log", "the level is low");
    if (it.events && time < 0.54 && *last > 0.55) {
        *last = 0.55;
        *event = *early = true;
    }
    misbehave(time, *last - time);
    return late && behaviour == WARNS ? WARNING : OK;
}
/* In event mode and in model exchange: an event at 0.55 s, where the level becomes 10. */
EXPORT Status fmi3UpdateDiscreteStates(void *m, bool *needed, bool *terminate, bool *nominals, bool *values, bool *defined, double *next)
{
    bool reached = it.time > 0.54;
    if (reached) it.level = 10;
    *needed = it.integers[0] == EVENT_LOOP && reached;
    *terminate = it.integers[0] == TERMINATES && reached;
    *nominals = *values = false;
    *defined = !reached;
    *next = 0.55;
    return OK;
}
EXPORT Status fmi3SetTime(void *m, double time) { it.time = time; return OK; }
EXPORT Status fmi3CompletedIntegratorStep(void *m, bool keep, bool *event, bool *terminate) { *event = *terminate = false; return OK; }
/* Reference 3 is the array of 2 x 3 values. */
EXPORT Status fmi3GetFloat64(void *m, const Reference *r, size_t n, double *v, size_t count)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < (r[i] == 3 ? 6 : 1); j++) *v++ = (&it.level)[r[i] + j];
    return OK;
}
EXPORT Status fmi3SetFloat64(void *m, const Reference *r, size_t n, const double *v, size_t count)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < (r[i] == 3 ? 6 : 1); j++) (&it.level)[r[i] + j] = *v++;
    return OK;
}
GET(fmi3GetInt8, int8_t, it.integers)
SET(fmi3SetInt8, int8_t, it.integers)
GET(fmi3GetInt32, int32_t, it.integers)
SET(fmi3SetInt32, int32_t, it.integers)
GET(fmi3GetInt64, int64_t, it.integers)
SET(fmi3SetInt64, int64_t, it.integers)
GET(fmi3GetUInt64, uint64_t, it.integers)
SET(fmi3SetUInt64, uint64_t, it.integers)
GET(fmi3GetBoolean, bool, (&it.flag))
SET(fmi3SetBoolean, bool, (&it.flag))
EXPORT Status fmi3GetString(void *m, const Reference *r, size_t n, Text *v, size_t count) { for (size_t i = 0; i < n; i++) v[i] = it.text; return OK; }
EXPORT Status fmi3SetString(void *m, const Reference *r, size_t n, const Text *v, size_t count) { if (n) strncpy(it.text, v[0], 31); return OK; }
EXPORT Status fmi3GetBinary(void *m, const Reference *r, size_t n, size_t *sizes, const void **v, size_t count) { for (size_t i = 0; i < n; i++) { sizes[i] = 3; v[i] = it.text; } return OK; }
EXPORT Status fmi3SetBinary(void *m, const Reference *r, size_t n, const size_t *sizes, const void *const *v, size_t count) { if (n) memcpy(it.text, v[0], sizes[0] < 31 ? sizes[0] : 31); return OK; }
SAME(fmi3SetDebugLogging) SAME(fmi3EnterInitializationMode) SAME(fmi3ExitInitializationMode) SAME(fmi3EnterEventMode)
SAME(fmi3Terminate) SAME(fmi3EnterStepMode)
NOPE(fmi3InstantiateScheduledExecution) NOPE(fmi3Reset) NOPE(fmi3GetFloat32) NOPE(fmi3SetFloat32)
NOPE(fmi3GetUInt8) NOPE(fmi3SetUInt8) NOPE(fmi3GetInt16) NOPE(fmi3SetInt16) NOPE(fmi3GetUInt16) NOPE(fmi3SetUInt16) NOPE(fmi3GetUInt32)
NOPE(fmi3SetUInt32) NOPE(fmi3GetClock) NOPE(fmi3SetClock) NOPE(fmi3GetNumberOfVariableDependencies) NOPE(fmi3GetVariableDependencies)
NOPE(fmi3GetFMUState) NOPE(fmi3SetFMUState) NOPE(fmi3FreeFMUState) NOPE(fmi3SerializedFMUStateSize) NOPE(fmi3SerializeFMUState)
NOPE(fmi3DeserializeFMUState) NOPE(fmi3GetDirectionalDerivative) NOPE(fmi3GetAdjointDerivative) NOPE(fmi3EnterConfigurationMode)
NOPE(fmi3ExitConfigurationMode) NOPE(fmi3GetIntervalDecimal) NOPE(fmi3GetIntervalFraction) NOPE(fmi3GetShiftDecimal)
NOPE(fmi3GetShiftFraction) NOPE(fmi3SetIntervalDecimal) NOPE(fmi3SetIntervalFraction) NOPE(fmi3SetShiftDecimal) NOPE(fmi3SetShiftFraction)
NOPE(fmi3EvaluateDiscreteStates) SAME(fmi3EnterContinuousTimeMode)
SAME(fmi3SetContinuousStates) SAME(fmi3GetContinuousStateDerivatives) SAME(fmi3GetEventIndicators)
SAME(fmi3GetContinuousStates) SAME(fmi3GetNominalsOfContinuousStates) NOPE(fmi3GetNumberOfEventIndicators)
NOPE(fmi3GetNumberOfContinuousStates) NOPE(fmi3GetOutputDerivatives) NOPE(fmi3ActivateModelPartition)
#endif
