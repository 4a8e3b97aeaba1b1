/* An exported policy (student.c) as a cFS application.
 *
 * One task and one pipe, so that no two decisions ever overlap; all memory is static. Whatever goes wrong, every
 * observation is answered with a legal action: the network's, the guard's or the fallback.
 */
#include "student_app.h"
#include "student_shadow.h"

#include <string.h>

enum { RESERVE, WHEEL_SPEED, STORAGE, QUANTITIES };

typedef struct {
    uint32 RunStatus;
    CFE_SB_PipeId_t Pipe;
    CFE_TBL_Handle_t Table;
    float Hidden[STUDENT_HIDDEN]; /* the policy's memory, of the last accepted decision */
    uint32 MissesInARow;
    bool Held[QUANTITIES]; /* limits that were hit and not released yet */
    STUDENT_SHADOW_t Shadow;
    STUDENT_APP_Counters_t Counters;
    STUDENT_APP_Action_t Action;
    STUDENT_APP_HkTlm_t Hk;
} STUDENT_APP_Data_t;

static STUDENT_APP_Data_t App;

/* ---- weights ---- */

/* cFE calls this in our task, from CFE_TBL_Load and CFE_TBL_Manage, before a table can become the active one. It checks
 * magic, version, length, CRC-32, dimensions and that every weight is finite (kd_validate), and that the shape is the
 * one that student.c was made for. */
static int32 ValidateTable(void *Table)
{
    return (student_validate(((const STUDENT_APP_Table_t *)Table)->Image, STUDENT_TABLE_BYTES) == 0) ? CFE_SUCCESS : -1;
}

/* Take the weights of the active table into the engine's memory; without one, those in student.c. */
static int32 LoadWeights(void)
{
    void *Address = NULL;
    int32 Loaded = STUDENT_ERR_ARGUMENT;
    if (CFE_TBL_GetAddress(&Address, App.Table) >= CFE_SUCCESS) {
        Loaded = student_load(((const STUDENT_APP_Table_t *)Address)->Image, STUDENT_TABLE_BYTES);
        (void)CFE_TBL_ReleaseAddress(App.Table);
    }
    if (Loaded < 0) { /* never loaded, or upset itself: the copy in program memory */
        Loaded = student_init();
    }
    return Loaded;
}

static void Forget(void)
{
    memset(App.Hidden, 0, sizeof(App.Hidden));
}

/* The weights in memory have changed: a single event upset. */
static void Recover(void)
{
    App.Counters.Upsets++;
    App.Counters.LastError = STUDENT_ERR_UPSET;
    (void)CFE_EVS_SendEvent(STUDENT_APP_UPSET_EID, CFE_EVS_EventType_ERROR, "STUDENT: weights upset, loaded anew: %d",
                            (int)LoadWeights());
}

static void Wakeup(void)
{
    void *Address = NULL;
    CFE_Status_t Status;
    (void)CFE_TBL_Manage(App.Table);
    Status = CFE_TBL_GetAddress(&Address, App.Table);
    if (Status >= CFE_SUCCESS) {
        (void)CFE_TBL_ReleaseAddress(App.Table);
    }
    if (Status == CFE_TBL_INFO_UPDATED) {
        const int32 Loaded = LoadWeights();
        Forget(); /* another network's memory means nothing to this one */
        App.Counters.TableLoads++;
        (void)CFE_EVS_SendEvent(STUDENT_APP_TABLE_EID, CFE_EVS_EventType_INFORMATION, "STUDENT: new weights: %d",
                                (int)Loaded);
    }
    if (student_scrub(STUDENT_APP_SCRUB_WORDS) == STUDENT_ERR_UPSET) {
        Recover();
    }
}

/* ---- decisions ---- */

/* Microseconds of a clock that nobody sets. */
static int64 Now(void)
{
    OS_time_t Time;
    CFE_PSP_GetTime(&Time);
    return OS_TimeGetTotalMicroseconds(Time);
}

/* The network's action within its deadline, or below 0. A task cannot interrupt itself: an answer that comes late is
 * discarded, and one that never comes is for the health and safety application (HS) to notice. */
static int32 AskNetwork(const STUDENT_APP_Observation_t *Asked)
{
    float Next[STUDENT_HIDDEN];
    float Logits[STUDENT_ACTIONS];
    const int64 Start = Now();
    int64 Elapsed;
    int32 Action;
    memcpy(Next, App.Hidden, sizeof(Next));
    Action = student_decide(Asked->Obs, Asked->Mask, Next, Logits);
    if (Action == STUDENT_ERR_UPSET) {
        Recover();
        Action = student_decide(Asked->Obs, Asked->Mask, Next, Logits);
    }
    Elapsed = Now() - Start;
    if (Elapsed > (int64)App.Counters.LongestUs) {
        App.Counters.LongestUs = (uint32)Elapsed;
    }
    if (Action < 0) {
        App.Counters.LastError = Action;
    } else if (Elapsed > STUDENT_APP_DEADLINE_US) {
        Action = -1;
    } else {
        memcpy(App.Hidden, Next, sizeof(Next));
    }
    return Action;
}

/* Whether a limit is beyond, or was and has not come back by the margin. Not a number is no proof of health. */
static bool Holds(bool Held, float Excess)
{
    if (!(Excess <= 0.0f)) {
        return true;
    }
    return Held && (Excess > -STUDENT_APP_RELEASE);
}

/* The simplex architecture: a rule that can be checked by eye beside the learned policy. The fallback cures every
 * quantity here; a satellite that can desaturate its wheels or downlink names those actions for theirs. */
static bool GuardObjects(const STUDENT_APP_Observation_t *Asked)
{
    App.Held[RESERVE] = Holds(App.Held[RESERVE], STUDENT_APP_RESERVE_MIN - Asked->Reserve);
    App.Held[WHEEL_SPEED] = Holds(App.Held[WHEEL_SPEED], Asked->WheelSpeed - STUDENT_APP_WHEEL_SPEED_MAX);
    App.Held[STORAGE] = Holds(App.Held[STORAGE], Asked->Storage - STUDENT_APP_STORAGE_MAX);
    return App.Held[RESERVE] || App.Held[WHEEL_SPEED] || App.Held[STORAGE];
}

static void Miss(void)
{
    App.Counters.Misses++;
    App.MissesInARow++;
    if (App.MissesInARow >= STUDENT_APP_MAX_MISSES) {
        App.Counters.SafeMode = 1;
        (void)CFE_EVS_SendEvent(STUDENT_APP_SAFE_EID, CFE_EVS_EventType_CRITICAL, "STUDENT: safe mode, error %d",
                                (int)App.Counters.LastError);
    }
}

/* The fallback if it is legal, else the first action that is. */
static int32 Fallback(const uint8 *Mask)
{
    int32 Action = STUDENT_FALLBACK;
    int32 j;
    for (j = 0; (j < STUDENT_ACTIONS) && (Mask[Action] == 0); j++) {
        Action = (Mask[j] != 0) ? j : STUDENT_FALLBACK;
    }
    return Action;
}

/* In shadow an action goes out under an id that nobody who acts has subscribed to. */
static void SetActionId(void)
{
    const CFE_SB_MsgId_Atom_t Id = (App.Counters.Shadow != 0) ? STUDENT_APP_SHADOW_MID : STUDENT_APP_ACTION_MID;
    (void)CFE_MSG_SetMsgId(CFE_MSG_PTR(App.Action.TelemetryHeader), CFE_SB_ValueToMsgId(Id));
}

static void Decide(const STUDENT_APP_Observation_t *Asked)
{
    const bool Objects = GuardObjects(Asked);
    int32 Action = -1;
    uint32 Source = STUDENT_APP_BY_NETWORK;
    if (App.Counters.SafeMode == 0) {
        Action = AskNetwork(Asked);
        if (Action >= 0) {
            App.MissesInARow = 0;
            App.Counters.Decisions++;
        } else {
            Miss();
        }
    }
    if (Action < 0) {
        Action = Fallback(Asked->Mask);
        Source = STUDENT_APP_BY_FALLBACK;
        App.Counters.Fallbacks++;
    } else if (Objects && (Action != STUDENT_FALLBACK) && (Asked->Mask[STUDENT_FALLBACK] != 0)) {
        Action = STUDENT_FALLBACK;
        Source = STUDENT_APP_BY_GUARD;
        App.Counters.Overrides++;
    }
    App.Action.Sequence = Asked->Sequence;
    App.Action.Action = (uint32)Action;
    App.Action.Source = Source;
    SetActionId();
    if (App.Counters.Shadow != 0) {
        STUDENT_SHADOW_Decided(&App.Shadow, Asked->Sequence, (uint32)Action);
    }
    CFE_SB_TimeStampMsg(CFE_MSG_PTR(App.Action.TelemetryHeader));
    (void)CFE_SB_TransmitMsg(CFE_MSG_PTR(App.Action.TelemetryHeader), true);
}

/* ---- messages ---- */

static void SendHousekeeping(void)
{
    App.Counters.Agreed = App.Shadow.Agreed;
    App.Counters.Differed = App.Shadow.Differed;
    App.Hk.Payload = App.Counters;
    CFE_SB_TimeStampMsg(CFE_MSG_PTR(App.Hk.TelemetryHeader));
    (void)CFE_SB_TransmitMsg(CFE_MSG_PTR(App.Hk.TelemetryHeader), true);
}

static void Command(const CFE_SB_Buffer_t *Buffer)
{
    CFE_MSG_FcnCode_t Code = 0;
    (void)CFE_MSG_GetFcnCode(&Buffer->Msg, &Code);
    App.Counters.CommandCounter++;
    switch (Code) {
        case STUDENT_APP_NOOP_CC:
            break;
        case STUDENT_APP_RESET_COUNTERS_CC: {
            const uint32 SafeMode = App.Counters.SafeMode; /* states, not counts */
            const uint32 Shadow = App.Counters.Shadow;
            memset(&App.Counters, 0, sizeof(App.Counters));
            memset(&App.Shadow, 0, sizeof(App.Shadow));
            App.Counters.SafeMode = SafeMode;
            App.Counters.Shadow = Shadow;
            break;
        }
        case STUDENT_APP_RESUME_CC:
            App.Counters.SafeMode = 0;
            App.MissesInARow = 0;
            break;
        case STUDENT_APP_FORGET_CC:
            Forget();
            break;
        case STUDENT_APP_SHADOW_CC:
            App.Counters.Shadow = 1;
            break;
        case STUDENT_APP_FLY_CC:
            App.Counters.Shadow = 0;
            break;
        default:
            App.Counters.CommandCounter--;
            App.Counters.CommandErrorCounter++;
            (void)CFE_EVS_SendEvent(STUDENT_APP_COMMAND_EID, CFE_EVS_EventType_ERROR, "STUDENT: no command %u",
                                    (unsigned int)Code);
            break;
    }
}

/* A message of another length was not made for this policy. */
static bool HasSize(const CFE_SB_Buffer_t *Buffer, size_t Expected)
{
    CFE_MSG_Size_t Size = 0;
    (void)CFE_MSG_GetSize(&Buffer->Msg, &Size);
    if (Size != Expected) {
        App.Counters.CommandErrorCounter++;
        (void)CFE_EVS_SendEvent(STUDENT_APP_MESSAGE_EID, CFE_EVS_EventType_ERROR, "STUDENT: %u bytes, expected %u",
                                (unsigned int)Size, (unsigned int)Expected);
    }
    return Size == Expected;
}

static void Dispatch(const CFE_SB_Buffer_t *Buffer)
{
    CFE_SB_MsgId_t Id = CFE_SB_INVALID_MSG_ID;
    (void)CFE_MSG_GetMsgId(&Buffer->Msg, &Id);
    switch (CFE_SB_MsgIdToValue(Id)) {
        case STUDENT_APP_WAKEUP_MID:
            Wakeup();
            break;
        case STUDENT_APP_OBSERVATION_MID:
            if (HasSize(Buffer, sizeof(STUDENT_APP_Observation_t))) {
                Decide((const STUDENT_APP_Observation_t *)Buffer);
            }
            break;
        case STUDENT_APP_FLOWN_MID:
            if (HasSize(Buffer, sizeof(STUDENT_APP_Flown_t)) && (App.Counters.Shadow != 0)) {
                const STUDENT_APP_Flown_t *const Other = (const STUDENT_APP_Flown_t *)Buffer;
                STUDENT_SHADOW_Flown(&App.Shadow, Other->Sequence, Other->Action);
            }
            break;
        case STUDENT_APP_SEND_HK_MID:
            SendHousekeeping();
            break;
        case STUDENT_APP_CMD_MID:
            if (HasSize(Buffer, sizeof(CFE_MSG_CommandHeader_t))) {
                Command(Buffer);
            }
            break;
        default:
            (void)CFE_EVS_SendEvent(STUDENT_APP_MESSAGE_EID, CFE_EVS_EventType_ERROR, "STUDENT: no message 0x%X",
                                    (unsigned int)CFE_SB_MsgIdToValue(Id));
            break;
    }
}

static CFE_Status_t Subscribe(void)
{
    static const CFE_SB_MsgId_Atom_t Ids[] = {STUDENT_APP_CMD_MID, STUDENT_APP_SEND_HK_MID, STUDENT_APP_WAKEUP_MID,
                                              STUDENT_APP_OBSERVATION_MID, STUDENT_APP_FLOWN_MID};
    CFE_Status_t Status = CFE_SB_CreatePipe(&App.Pipe, STUDENT_APP_PIPE_DEPTH, "STUDENT_PIPE");
    size_t i;
    for (i = 0; (i < sizeof(Ids) / sizeof(Ids[0])) && (Status == CFE_SUCCESS); i++) {
        Status = CFE_SB_Subscribe(CFE_SB_ValueToMsgId(Ids[i]), App.Pipe);
    }
    return Status;
}

static CFE_Status_t Init(void)
{
    CFE_Status_t Status;
    int32 Golden;
    memset(&App, 0, sizeof(App));
    App.RunStatus = CFE_ES_RunStatus_APP_RUN;
    App.Counters.Shadow = STUDENT_APP_STARTS_IN_SHADOW;
    Status = CFE_EVS_Register(NULL, 0, CFE_EVS_EventFilter_BINARY);
    if (Status != CFE_SUCCESS) {
        return Status;
    }
    (void)CFE_MSG_Init(CFE_MSG_PTR(App.Action.TelemetryHeader), CFE_SB_ValueToMsgId(STUDENT_APP_ACTION_MID),
                       sizeof(App.Action));
    (void)CFE_MSG_Init(CFE_MSG_PTR(App.Hk.TelemetryHeader), CFE_SB_ValueToMsgId(STUDENT_APP_HK_TLM_MID),
                       sizeof(App.Hk));
    Golden = student_init();
    if (Golden != 0) { /* this processor or compiler does not give the policy's bits: fly the fallback only */
        App.Counters.SafeMode = 1;
        App.Counters.LastError = Golden;
    }
    Status = CFE_TBL_Register(&App.Table, "Weights", sizeof(STUDENT_APP_Table_t), CFE_TBL_OPT_DEFAULT, ValidateTable);
    if (Status < CFE_SUCCESS) {
        return Status;
    }
    if (CFE_TBL_Load(App.Table, CFE_TBL_SRC_FILE, STUDENT_APP_TABLE_FILE) < CFE_SUCCESS) {
        (void)CFE_EVS_SendEvent(STUDENT_APP_TABLE_EID, CFE_EVS_EventType_INFORMATION,
                                "STUDENT: no table file, deciding by the weights of the program");
    }
    Status = Subscribe();
    (void)CFE_EVS_SendEvent(STUDENT_APP_INIT_EID, CFE_EVS_EventType_INFORMATION, "STUDENT: started, golden decisions %d",
                            (int)Golden);
    return Status;
}

void STUDENT_APP_Main(void)
{
    CFE_SB_Buffer_t *Buffer = NULL;
    if (Init() != CFE_SUCCESS) {
        App.RunStatus = CFE_ES_RunStatus_APP_ERROR;
    }
    while (CFE_ES_RunLoop(&App.RunStatus)) {
        const CFE_Status_t Status = CFE_SB_ReceiveBuffer(&Buffer, App.Pipe, CFE_SB_PEND_FOREVER);
        if (Status == CFE_SUCCESS) {
            Dispatch(Buffer);
        } else {
            (void)CFE_EVS_SendEvent(STUDENT_APP_PIPE_EID, CFE_EVS_EventType_ERROR, "STUDENT: pipe error %d",
                                    (int)Status);
            App.RunStatus = CFE_ES_RunStatus_APP_ERROR;
        }
    }
    CFE_ES_ExitApp(App.RunStatus);
}
