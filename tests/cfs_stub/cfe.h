/* As much of cFE as docs/cfs_example calls, for its test: one application, one pipe, one table, a clock that is told
 * the time. Types and return codes are as cFE's headers have them, messages are laid out otherwise. */
#ifndef CFE_H
#define CFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int16_t int16;
typedef int32_t int32;
typedef int64_t int64;
typedef uint8_t uint8;
typedef uint16_t uint16;
typedef uint32_t uint32;

typedef int32 CFE_Status_t;
#define CFE_SUCCESS ((CFE_Status_t)0)
#define CFE_TBL_INFO_UPDATED ((CFE_Status_t)0x4c000004)
#define CFE_TBL_ERR_NEVER_LOADED ((CFE_Status_t)0xcc000005)

typedef uint32 CFE_SB_MsgId_Atom_t;
typedef struct {
    CFE_SB_MsgId_Atom_t Value;
} CFE_SB_MsgId_t;
typedef size_t CFE_MSG_Size_t;
typedef uint16 CFE_MSG_FcnCode_t;
typedef struct {
    uint32 Id;
    uint32 Size;
    uint32 Code;
    uint32 Sequence;
} CFE_MSG_Message_t;
typedef struct {
    CFE_MSG_Message_t Msg;
} CFE_MSG_CommandHeader_t;
typedef struct {
    CFE_MSG_Message_t Msg;
} CFE_MSG_TelemetryHeader_t;
typedef union {
    CFE_MSG_Message_t Msg;
    long long Aligned;
} CFE_SB_Buffer_t;
typedef uint32 CFE_SB_PipeId_t;
typedef int16 CFE_TBL_Handle_t;
typedef int32 (*CFE_TBL_CallbackFuncPtr_t)(void *TblPtr);
typedef enum { CFE_TBL_SRC_FILE = 0, CFE_TBL_SRC_ADDRESS } CFE_TBL_SrcEnum_t;
typedef struct {
    int64 ticks;
} OS_time_t;

#define CFE_SB_INVALID_MSG_ID {0}
#define CFE_SB_PEND_FOREVER (-1)
#define CFE_MSG_PTR(header) (&((header).Msg))
#define CFE_TBL_OPT_DEFAULT 0
#define CFE_EVS_EventFilter_BINARY 0
#define CFE_EVS_EventType_INFORMATION 2
#define CFE_EVS_EventType_ERROR 3
#define CFE_EVS_EventType_CRITICAL 4
#define CFE_ES_RunStatus_APP_RUN 1u
#define CFE_ES_RunStatus_APP_ERROR 3u

bool CFE_ES_RunLoop(uint32 *RunStatus);
void CFE_ES_ExitApp(uint32 ExitStatus);
CFE_Status_t CFE_EVS_Register(const void *Filters, uint16 NumEventFilters, uint16 FilterScheme);
CFE_Status_t CFE_EVS_SendEvent(uint16 EventID, uint16 EventType, const char *Spec, ...)
    __attribute__((format(printf, 3, 4)));
CFE_Status_t CFE_MSG_Init(CFE_MSG_Message_t *MsgPtr, CFE_SB_MsgId_t MsgId, CFE_MSG_Size_t Size);
CFE_Status_t CFE_MSG_SetMsgId(CFE_MSG_Message_t *MsgPtr, CFE_SB_MsgId_t MsgId);
CFE_Status_t CFE_MSG_GetMsgId(const CFE_MSG_Message_t *MsgPtr, CFE_SB_MsgId_t *MsgId);
CFE_Status_t CFE_MSG_GetSize(const CFE_MSG_Message_t *MsgPtr, CFE_MSG_Size_t *Size);
CFE_Status_t CFE_MSG_GetFcnCode(const CFE_MSG_Message_t *MsgPtr, CFE_MSG_FcnCode_t *FcnCode);
CFE_Status_t CFE_SB_CreatePipe(CFE_SB_PipeId_t *PipeIdPtr, uint16 Depth, const char *PipeName);
CFE_Status_t CFE_SB_Subscribe(CFE_SB_MsgId_t MsgId, CFE_SB_PipeId_t PipeId);
CFE_Status_t CFE_SB_ReceiveBuffer(CFE_SB_Buffer_t **BufPtr, CFE_SB_PipeId_t PipeId, int32 TimeOut);
CFE_Status_t CFE_SB_TransmitMsg(const CFE_MSG_Message_t *MsgPtr, bool IsOrigination);
void CFE_SB_TimeStampMsg(CFE_MSG_Message_t *MsgPtr);
CFE_SB_MsgId_t CFE_SB_ValueToMsgId(CFE_SB_MsgId_Atom_t MsgIdValue);
CFE_SB_MsgId_Atom_t CFE_SB_MsgIdToValue(CFE_SB_MsgId_t MsgId);
CFE_Status_t CFE_TBL_Register(CFE_TBL_Handle_t *TblHandlePtr, const char *Name, size_t Size, uint16 TblOptionFlags,
                              CFE_TBL_CallbackFuncPtr_t TblValidationFuncPtr);
CFE_Status_t CFE_TBL_Load(CFE_TBL_Handle_t TblHandle, CFE_TBL_SrcEnum_t SrcType, const void *SrcDataPtr);
CFE_Status_t CFE_TBL_Manage(CFE_TBL_Handle_t TblHandle);
CFE_Status_t CFE_TBL_GetAddress(void **TblPtr, CFE_TBL_Handle_t TblHandle);
CFE_Status_t CFE_TBL_ReleaseAddress(CFE_TBL_Handle_t TblHandle);
void CFE_PSP_GetTime(OS_time_t *LocalTime);
int64 OS_TimeGetTotalMicroseconds(OS_time_t tm);

#endif
