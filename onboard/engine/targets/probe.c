/* How deep the stack of an exported student goes, measured: what lies below the caller is painted, and looked at after
 * the call. Answers once, without being asked: i32 status of student_init or student_decide; u32 8; u32 bytes of stack
 * that student_init wrote to at the deepest, u32 likewise for student_decide. Link it with a student.c and a target's
 * start-up code. What a painter's own frame needs beside the paint is not seen, so a depth is too small by that.
 */
#include "student.h"

#include "port.h"

#define ROOM 32768u
#define PAINT 0xA5u

static float obs[STUDENT_OBS];
static uint8_t mask[STUDENT_ACTIONS];
static float hidden[STUDENT_HIDDEN];
static float logits[STUDENT_ACTIONS];

static __attribute__((noinline)) void paint(void)
{
    uint8_t room[ROOM];
    uint32_t i;
    for (i = 0u; i < ROOM; i++) {
        room[i] = PAINT;
    }
    __asm__ volatile("" : : "m"(room)); /* nobody reads them, and they are written all the same */
}

static __attribute__((noinline)) uint32_t depth(void)
{
    uint8_t room[ROOM];
    uint32_t i = 0u;
    __asm__ volatile("" : "=m"(room)); /* as they were left */
    while ((i < ROOM) && (room[i] == PAINT)) {
        i++;
    }
    return ROOM - i;
}

static void put(uint8_t *bytes, uint32_t word)
{
    bytes[0] = (uint8_t)(word & 0xFFu);
    bytes[1] = (uint8_t)((word >> 8) & 0xFFu);
    bytes[2] = (uint8_t)((word >> 16) & 0xFFu);
    bytes[3] = (uint8_t)(word >> 24);
}

void serve(void)
{
    uint8_t answer[16];
    int32_t status;
    uint32_t i;
    for (i = 0u; i < (uint32_t)STUDENT_ACTIONS; i++) {
        mask[i] = 1u;
    }
    for (i = 0u; i < (uint32_t)STUDENT_OBS; i++) {
        obs[i] = 0.25f;
    }
    paint();
    status = student_init();
    put(&answer[8], depth());
    if (status >= 0) {
        paint();
        status = student_decide(obs, mask, hidden, logits);
        put(&answer[12], depth());
    }
    put(answer, (uint32_t)status);
    put(&answer[4], 8u);
    (void)port_write(answer, (uint32_t)sizeof answer);
}
