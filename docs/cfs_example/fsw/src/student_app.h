/* Messages and tables of STUDENT_APP: an example of a cFS application that flies an exported policy.
 *
 *   in   WAKEUP_MID        from the scheduler, every second: table management, scrub
 *        OBSERVATION_MID   from the application that senses: asks for an action
 *        FLOWN_MID         in shadow mode, from the application that flies: the action that it took
 *        SEND_HK_MID       from the scheduler: asks for housekeeping telemetry
 *        CMD_MID           from the ground
 *   out  ACTION_MID        to the application that acts
 *        SHADOW_MID        in shadow mode instead: the same message, on which nobody acts
 *        HK_TLM_MID        to telemetry output
 */
#ifndef STUDENT_APP_H
#define STUDENT_APP_H

#include "cfe.h"
#include "student.h"

/* Of this example; a mission gives its own. */
#define STUDENT_APP_CMD_MID 0x18F0
#define STUDENT_APP_SEND_HK_MID 0x18F1
#define STUDENT_APP_WAKEUP_MID 0x18F2
#define STUDENT_APP_OBSERVATION_MID 0x08F0
#define STUDENT_APP_ACTION_MID 0x08F1
#define STUDENT_APP_HK_TLM_MID 0x08F2
#define STUDENT_APP_FLOWN_MID 0x08F3
#define STUDENT_APP_SHADOW_MID 0x08F4

#define STUDENT_APP_NOOP_CC 0
#define STUDENT_APP_RESET_COUNTERS_CC 1
#define STUDENT_APP_RESUME_CC 2 /* leave safe mode */
#define STUDENT_APP_FORGET_CC 3 /* the policy's memory becomes 0 */
#define STUDENT_APP_SHADOW_CC 4 /* decide as in flight, and act on nothing */
#define STUDENT_APP_FLY_CC 5    /* leave shadow mode */

#define STUDENT_APP_INIT_EID 1
#define STUDENT_APP_PIPE_EID 2
#define STUDENT_APP_MESSAGE_EID 3
#define STUDENT_APP_COMMAND_EID 4
#define STUDENT_APP_TABLE_EID 5
#define STUDENT_APP_UPSET_EID 6
#define STUDENT_APP_SAFE_EID 7

#define STUDENT_APP_STARTS_IN_SHADOW 0 /* 1: a policy that is tried beside another one from the start */
#define STUDENT_APP_PIPE_DEPTH 16
#define STUDENT_APP_TABLE_FILE "/cf/student_app_tbl.tbl"
#define STUDENT_APP_DEADLINE_US 250000
#define STUDENT_APP_MAX_MISSES 3    /* decisions in a row without a usable answer, then safe mode */
#define STUDENT_APP_SCRUB_WORDS 256 /* of the weights, in each wakeup */

/* Hard limits of the guard (onboard/guard.py), as fractions of capacity. */
#define STUDENT_APP_RESERVE_MIN 0.1f
#define STUDENT_APP_WHEEL_SPEED_MAX 0.9f
#define STUDENT_APP_STORAGE_MAX 0.95f
#define STUDENT_APP_RELEASE 0.02f /* by how much a quantity must be within its limit before the guard lets go */

typedef struct {
    uint8 Image[STUDENT_TABLE_BYTES];
} STUDENT_APP_Table_t;

/* Columns and actions are those listed in student.h. The health comes from the bus, not from what the policy sees. */
typedef struct {
    CFE_MSG_TelemetryHeader_t TelemetryHeader;
    uint32 Sequence;
    float Reserve; /* the lowest charge ahead if it images once more and then charges */
    float WheelSpeed;
    float Storage;
    float Obs[STUDENT_OBS];
    uint8 Mask[STUDENT_ACTIONS]; /* 1: legal */
} STUDENT_APP_Observation_t;

typedef enum {
    STUDENT_APP_BY_NETWORK = 0,
    STUDENT_APP_BY_GUARD = 1,   /* the network's action was beyond a hard limit */
    STUDENT_APP_BY_FALLBACK = 2 /* the network had no usable answer, or is not asked in safe mode */
} STUDENT_APP_Source_t;

typedef struct {
    CFE_MSG_TelemetryHeader_t TelemetryHeader;
    uint32 Sequence; /* of the observation that it answers */
    uint32 Action;
    uint32 Source;   /* STUDENT_APP_Source_t */
} STUDENT_APP_Action_t;

typedef struct {
    CFE_MSG_TelemetryHeader_t TelemetryHeader;
    uint32 Sequence; /* of the observation that it answers */
    uint32 Action;
} STUDENT_APP_Flown_t;

typedef struct {
    uint32 CommandCounter;
    uint32 CommandErrorCounter;
    uint32 Decisions;  /* by the network */
    uint32 Misses;     /* late or unusable answers */
    uint32 Fallbacks;
    uint32 Overrides;  /* by the guard */
    uint32 Upsets;     /* weights in memory that had changed, and were loaded anew */
    uint32 TableLoads;
    uint32 SafeMode;   /* 1: the network is asked no more until RESUME_CC */
    int32 LastError;   /* STUDENT_ERR_..., of the last decision or scrub without an answer */
    uint32 LongestUs;  /* of a decision */
    uint32 Shadow;     /* 1: it acts on nothing until FLY_CC */
    uint32 Agreed;     /* actions that were flown by another policy, and that this one would have taken */
    uint32 Differed;   /* likewise, and would not have */
} STUDENT_APP_Counters_t;

typedef struct {
    CFE_MSG_TelemetryHeader_t TelemetryHeader;
    STUDENT_APP_Counters_t Payload;
} STUDENT_APP_HkTlm_t;

void STUDENT_APP_Main(void);

#endif
