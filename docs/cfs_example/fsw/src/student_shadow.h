/* Shadow mode: the policy decides beside another one that flies, and acts on nothing. This compares the two. */
#ifndef STUDENT_SHADOW_H
#define STUDENT_SHADOW_H

#include "cfe.h"

typedef struct {
    uint32 Sequence; /* of the observation */
    uint32 Action;
    bool Open; /* it has not been compared */
} STUDENT_SHADOW_Choice_t;

typedef struct {
    STUDENT_SHADOW_Choice_t Decided; /* by this application, its latest */
    STUDENT_SHADOW_Choice_t Flown;   /* by the other one, its latest */
    uint32 Agreed;
    uint32 Differed;
} STUDENT_SHADOW_t;

/* Either may come first. Two choices for one observation are compared once; one that stays alone is never counted. */
void STUDENT_SHADOW_Decided(STUDENT_SHADOW_t *Shadow, uint32 Sequence, uint32 Action);
void STUDENT_SHADOW_Flown(STUDENT_SHADOW_t *Shadow, uint32 Sequence, uint32 Action);

#endif
