/* The part of FMI 2.0 for co-simulation that a small FMU must offer, with "cannot do that" for
   everything optional. A model includes this file and adds its own five functions. */

#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

typedef unsigned int Reference;
typedef const char *Text;
typedef enum { OK, WARNING, DISCARD, ERROR, FATAL } Status;
typedef void (*Logger)(void *environment, Text instance, Status status, Text category, Text message, ...);

typedef struct {
    Logger logger;
    void *(*allocate)(size_t count, size_t size);
    void (*release)(void *memory);
    void (*step_finished)(void *environment, Status status);
    void *environment;
} Callbacks;

EXPORT Text fmi2GetTypesPlatform(void) { return "default"; }
EXPORT Text fmi2GetVersion(void) { return "2.0"; }

EXPORT Status fmi2SetDebugLogging(void *model, int on, size_t n, const Text *categories) { return OK; }
EXPORT Status fmi2SetupExperiment(void *model, int tolerant, double tolerance, double start, int stops, double stop) { return OK; }
EXPORT Status fmi2EnterInitializationMode(void *model) { return OK; }
EXPORT Status fmi2ExitInitializationMode(void *model) { return OK; }
EXPORT Status fmi2Terminate(void *model) { return OK; }
EXPORT Status fmi2Reset(void *model) { return ERROR; }

/* No variables of these types: asking for none of them is fine. */
EXPORT Status fmi2GetInteger(void *model, const Reference *which, size_t n, int *values) { return n ? ERROR : OK; }
EXPORT Status fmi2SetInteger(void *model, const Reference *which, size_t n, const int *values) { return n ? ERROR : OK; }
EXPORT Status fmi2GetBoolean(void *model, const Reference *which, size_t n, int *values) { return n ? ERROR : OK; }
EXPORT Status fmi2SetBoolean(void *model, const Reference *which, size_t n, const int *values) { return n ? ERROR : OK; }
EXPORT Status fmi2GetString(void *model, const Reference *which, size_t n, Text *values) { return n ? ERROR : OK; }
EXPORT Status fmi2SetString(void *model, const Reference *which, size_t n, const Text *values) { return n ? ERROR : OK; }

/* modelDescription.xml claims none of these capabilities. */
EXPORT Status fmi2GetFMUstate(void *model, void **state) { return ERROR; }
EXPORT Status fmi2SetFMUstate(void *model, void *state) { return ERROR; }
EXPORT Status fmi2FreeFMUstate(void *model, void **state) { return ERROR; }
EXPORT Status fmi2SerializedFMUstateSize(void *model, void *state, size_t *size) { return ERROR; }
EXPORT Status fmi2SerializeFMUstate(void *model, void *state, char *bytes, size_t size) { return ERROR; }
EXPORT Status fmi2DeSerializeFMUstate(void *model, const char *bytes, size_t size, void **state) { return ERROR; }
EXPORT Status fmi2GetDirectionalDerivative(void *model, const Reference *unknown, size_t n, const Reference *known, size_t m, const double *seed, double *result) { return ERROR; }
EXPORT Status fmi2SetRealInputDerivatives(void *model, const Reference *which, size_t n, const int *orders, const double *values) { return ERROR; }
EXPORT Status fmi2GetRealOutputDerivatives(void *model, const Reference *which, size_t n, const int *orders, double *values) { return ERROR; }
EXPORT Status fmi2CancelStep(void *model) { return ERROR; }
EXPORT Status fmi2GetStatus(void *model, int kind, Status *value) { return ERROR; }
EXPORT Status fmi2GetRealStatus(void *model, int kind, double *value) { return ERROR; }
EXPORT Status fmi2GetIntegerStatus(void *model, int kind, int *value) { return ERROR; }
EXPORT Status fmi2GetBooleanStatus(void *model, int kind, int *value) { return ERROR; }
EXPORT Status fmi2GetStringStatus(void *model, int kind, Text *value) { return ERROR; }
