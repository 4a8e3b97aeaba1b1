/* cFE's part, played from Python: what is pushed is received, what is sent is kept, a table is uploaded. */
#include "cfe.h"

#include <string.h>

#define MESSAGES 512
#define BYTES 4096
#define TABLE_BYTES (1 << 20)

static union {
    CFE_SB_Buffer_t Buffer;
    uint8 Bytes[BYTES];
} In[MESSAGES];
static uint8 Out[MESSAGES][BYTES];
static uint32 Pushed;
static uint32 Received;
static uint32 Sent;
static uint32 Subscribed[16];
static uint32 Subscriptions;
static uint32 Events;
static int32 Exit = -1;
static int64 Time_us;
static int64 Step_us = 1;
static uint8 Active[TABLE_BYTES];
static uint8 Pending[TABLE_BYTES];
static size_t TableSize;
static bool IsLoaded;
static bool IsPending;
static bool IsUpdated;
static int32 Addresses; /* obtained and not released */
static CFE_TBL_CallbackFuncPtr_t Validate;
static int32 Verdict;
static void (*OnReceive)(uint32 received);

/* Called as each message is received, with how many were before it. */
void stub_on_receive(void (*callback)(uint32 received))
{
    OnReceive = callback;
}

void stub_push(uint32 id, uint32 code, const uint8 *bytes, uint32 size)
{
    memcpy(In[Pushed].Bytes, bytes, size);
    In[Pushed].Buffer.Msg.Id = id;
    In[Pushed].Buffer.Msg.Size = size;
    In[Pushed].Buffer.Msg.Code = code;
    Pushed++;
}

void stub_upload(const uint8 *bytes, uint32 size)
{
    memcpy(Pending, bytes, size);
    IsPending = true;
}

void stub_clock(int64 step_us) /* each look at the clock takes so long */
{
    Step_us = step_us;
}

uint32 stub_sent(void)
{
    return Sent;
}

const uint8 *stub_message(uint32 index)
{
    return Out[index];
}

int32 stub_state(uint32 what)
{
    const int32 states[] = {Exit, (int32)Events, Verdict, Addresses};
    return states[what];
}

bool CFE_ES_RunLoop(uint32 *RunStatus)
{
    return (*RunStatus == CFE_ES_RunStatus_APP_RUN) && (Received < Pushed);
}

void CFE_ES_ExitApp(uint32 ExitStatus)
{
    Exit = (int32)ExitStatus;
}

CFE_Status_t CFE_EVS_Register(const void *Filters, uint16 NumEventFilters, uint16 FilterScheme)
{
    (void)Filters;
    (void)NumEventFilters;
    (void)FilterScheme;
    return CFE_SUCCESS;
}

CFE_Status_t CFE_EVS_SendEvent(uint16 EventID, uint16 EventType, const char *Spec, ...)
{
    (void)EventID;
    (void)EventType;
    (void)Spec;
    Events++;
    return CFE_SUCCESS;
}

CFE_Status_t CFE_MSG_Init(CFE_MSG_Message_t *MsgPtr, CFE_SB_MsgId_t MsgId, CFE_MSG_Size_t Size)
{
    memset(MsgPtr, 0, Size);
    MsgPtr->Id = MsgId.Value;
    MsgPtr->Size = (uint32)Size;
    return CFE_SUCCESS;
}

CFE_Status_t CFE_MSG_SetMsgId(CFE_MSG_Message_t *MsgPtr, CFE_SB_MsgId_t MsgId)
{
    MsgPtr->Id = MsgId.Value;
    return CFE_SUCCESS;
}

CFE_Status_t CFE_MSG_GetMsgId(const CFE_MSG_Message_t *MsgPtr, CFE_SB_MsgId_t *MsgId)
{
    MsgId->Value = MsgPtr->Id;
    return CFE_SUCCESS;
}

CFE_Status_t CFE_MSG_GetSize(const CFE_MSG_Message_t *MsgPtr, CFE_MSG_Size_t *Size)
{
    *Size = MsgPtr->Size;
    return CFE_SUCCESS;
}

CFE_Status_t CFE_MSG_GetFcnCode(const CFE_MSG_Message_t *MsgPtr, CFE_MSG_FcnCode_t *FcnCode)
{
    *FcnCode = (CFE_MSG_FcnCode_t)MsgPtr->Code;
    return CFE_SUCCESS;
}

CFE_Status_t CFE_SB_CreatePipe(CFE_SB_PipeId_t *PipeIdPtr, uint16 Depth, const char *PipeName)
{
    (void)Depth;
    (void)PipeName;
    *PipeIdPtr = 1u;
    return CFE_SUCCESS;
}

CFE_Status_t CFE_SB_Subscribe(CFE_SB_MsgId_t MsgId, CFE_SB_PipeId_t PipeId)
{
    (void)PipeId;
    Subscribed[Subscriptions] = MsgId.Value;
    Subscriptions++;
    return CFE_SUCCESS;
}

/* The next message of those subscribed to; a message that nobody wants never reaches a pipe. */
CFE_Status_t CFE_SB_ReceiveBuffer(CFE_SB_Buffer_t **BufPtr, CFE_SB_PipeId_t PipeId, int32 TimeOut)
{
    uint32 i;
    (void)PipeId;
    (void)TimeOut;
    if (OnReceive != NULL) {
        OnReceive(Received);
    }
    *BufPtr = &In[Received].Buffer;
    Received++;
    for (i = 0u; i < Subscriptions; i++) {
        if (Subscribed[i] == (*BufPtr)->Msg.Id) {
            return CFE_SUCCESS;
        }
    }
    return -1;
}

CFE_Status_t CFE_SB_TransmitMsg(const CFE_MSG_Message_t *MsgPtr, bool IsOrigination)
{
    (void)IsOrigination;
    memcpy(Out[Sent], MsgPtr, MsgPtr->Size);
    Sent++;
    return CFE_SUCCESS;
}

void CFE_SB_TimeStampMsg(CFE_MSG_Message_t *MsgPtr)
{
    MsgPtr->Sequence++;
}

CFE_SB_MsgId_t CFE_SB_ValueToMsgId(CFE_SB_MsgId_Atom_t MsgIdValue)
{
    const CFE_SB_MsgId_t id = {MsgIdValue};
    return id;
}

CFE_SB_MsgId_Atom_t CFE_SB_MsgIdToValue(CFE_SB_MsgId_t MsgId)
{
    return MsgId.Value;
}

CFE_Status_t CFE_TBL_Register(CFE_TBL_Handle_t *TblHandlePtr, const char *Name, size_t Size, uint16 TblOptionFlags,
                              CFE_TBL_CallbackFuncPtr_t TblValidationFuncPtr)
{
    (void)Name;
    (void)TblOptionFlags;
    *TblHandlePtr = 1;
    TableSize = Size;
    Validate = TblValidationFuncPtr;
    return CFE_SUCCESS;
}

CFE_Status_t CFE_TBL_Load(CFE_TBL_Handle_t TblHandle, CFE_TBL_SrcEnum_t SrcType, const void *SrcDataPtr)
{
    (void)TblHandle;
    (void)SrcType;
    (void)SrcDataPtr;
    return -1; /* there is no file */
}

CFE_Status_t CFE_TBL_Manage(CFE_TBL_Handle_t TblHandle)
{
    (void)TblHandle;
    if (!IsPending) {
        return CFE_SUCCESS;
    }
    IsPending = false;
    Verdict = Validate(Pending);
    if (Verdict != CFE_SUCCESS) {
        return Verdict;
    }
    memcpy(Active, Pending, TableSize);
    IsLoaded = true;
    IsUpdated = true;
    return CFE_TBL_INFO_UPDATED;
}

CFE_Status_t CFE_TBL_GetAddress(void **TblPtr, CFE_TBL_Handle_t TblHandle)
{
    const CFE_Status_t status = IsUpdated ? CFE_TBL_INFO_UPDATED : CFE_SUCCESS;
    (void)TblHandle;
    if (!IsLoaded) {
        return CFE_TBL_ERR_NEVER_LOADED;
    }
    *TblPtr = Active;
    IsUpdated = false;
    Addresses++;
    return status;
}

CFE_Status_t CFE_TBL_ReleaseAddress(CFE_TBL_Handle_t TblHandle)
{
    (void)TblHandle;
    Addresses--;
    return CFE_SUCCESS;
}

void CFE_PSP_GetTime(OS_time_t *LocalTime)
{
    Time_us += Step_us;
    LocalTime->ticks = Time_us;
}

int64 OS_TimeGetTotalMicroseconds(OS_time_t tm)
{
    return tm.ticks;
}
