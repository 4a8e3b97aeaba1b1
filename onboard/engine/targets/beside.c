/* One program for each of two engines that fly the same policy, so that they can be compared: an exported student
 * (-DOURS), or what emx-onnx-cgen makes of its ONNX graph. Decides every question of questions.h in order, and writes
 * logits and next hidden state of each, little-endian; with -DTIMED it writes nanoseconds instead, one mean a line.
 * -DBARE: on a target's start-up code, else under an operating system.
 */
#define _POSIX_C_SOURCE 199309L
#ifdef OURS
#include "student.c"
#else
#include "model.c"
#endif
#include "questions.h"
#ifdef BARE
#include "port.h"
#else
#include <stdio.h>
#endif
#ifdef TIMED
#include <time.h>
#define BATCHES 200
#endif

static float hidden[HIDDEN];
static float logits[ACTIONS];

/* The network alone, and what flies: for a student with the check of its weights, for a model the same once more. */
__attribute__((noinline)) void alone(int t)
{
    float next[HIDDEN];
    int j;
#ifdef OURS
    (void)kd_step(&student_model, asked_obs[t], asked_mask[t], hidden, next, logits);
#else
    model(asked_obs[t], asked_mask[t], hidden, logits, next);
#endif
    for (j = 0; j < HIDDEN; j++) {
        hidden[j] = next[j];
    }
}

__attribute__((noinline)) void decide(int t)
{
#ifdef OURS
    (void)student_decide(asked_obs[t], asked_mask[t], hidden, logits);
#else
    alone(t);
#endif
}

static void forget(void)
{
    int j;
    for (j = 0; j < HIDDEN; j++) {
        hidden[j] = 0.0f;
    }
}

#ifndef TIMED
static unsigned char answer[4 * (ACTIONS + HIDDEN)];

static void put(int at, float value)
{
    union {
        float value;
        uint32_t bits;
    } word;
    word.value = value;
    answer[4 * at] = (unsigned char)(word.bits & 0xFFu);
    answer[4 * at + 1] = (unsigned char)((word.bits >> 8) & 0xFFu);
    answer[4 * at + 2] = (unsigned char)((word.bits >> 16) & 0xFFu);
    answer[4 * at + 3] = (unsigned char)((word.bits >> 24) & 0xFFu);
}

static void tell(void)
{
    int j;
    for (j = 0; j < ACTIONS + HIDDEN; j++) {
        put(j, (j < ACTIONS) ? logits[j] : hidden[j - ACTIONS]);
    }
#ifdef BARE
    (void)port_write(answer, (uint32_t)sizeof answer);
#else
    (void)fwrite(answer, 1u, sizeof answer, stdout);
#endif
}
#else
static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e9 * (double)time.tv_sec + (double)time.tv_nsec;
}

static void measured(const char *name, void (*engine)(int))
{
    int batch;
    for (batch = 0; batch < BATCHES; batch++) {
        const double start = now();
        int t;
        for (t = 0; t < QUESTIONS; t++) {
            engine(t);
        }
        (void)printf("%s %.1f\n", name, (now() - start) / QUESTIONS);
    }
}
#endif

int main(void)
{
#ifdef OURS
    if (student_init() != 0) {
        return 1;
    }
#endif
    forget();
#ifdef TIMED
    measured("alone", alone);
    measured("decide", decide);
#else
    int t;
    for (t = 0; t < QUESTIONS; t++) {
        alone(t);
        tell();
    }
    forget();
    for (t = 0; t < QUESTIONS; t++) {
        decide(t);
    }
#endif
    return 0;
}

#ifdef BARE
void serve(void)
{
    (void)main();
}
#endif
