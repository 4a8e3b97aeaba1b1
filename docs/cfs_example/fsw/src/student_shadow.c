#include "student_shadow.h"

static void Compare(STUDENT_SHADOW_t *Shadow)
{
    if (Shadow->Decided.Open && Shadow->Flown.Open && (Shadow->Decided.Sequence == Shadow->Flown.Sequence)) {
        if (Shadow->Decided.Action == Shadow->Flown.Action) {
            Shadow->Agreed++;
        } else {
            Shadow->Differed++;
        }
        Shadow->Decided.Open = false;
        Shadow->Flown.Open = false;
    }
}

static void Note(STUDENT_SHADOW_Choice_t *Choice, uint32 Sequence, uint32 Action)
{
    Choice->Sequence = Sequence;
    Choice->Action = Action;
    Choice->Open = true;
}

void STUDENT_SHADOW_Decided(STUDENT_SHADOW_t *Shadow, uint32 Sequence, uint32 Action)
{
    Note(&Shadow->Decided, Sequence, Action);
    Compare(Shadow);
}

void STUDENT_SHADOW_Flown(STUDENT_SHADOW_t *Shadow, uint32 Sequence, uint32 Action)
{
    Note(&Shadow->Flown, Sequence, Action);
    Compare(Shadow);
}
