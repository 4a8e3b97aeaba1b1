/* The weights as a cFE table file. Its bytes are the satellite's table of the bundle:
 *
 *   xxd -i < sat_0_slow.kdwt > weights.inc
 */
#include "cfe_tbl_filedef.h"
#include "student_app.h"

STUDENT_APP_Table_t STUDENT_APP_Weights = {{
#include "weights.inc"
}};

CFE_TBL_FILEDEF(STUDENT_APP_Weights, STUDENT_APP.Weights, Policy weights, student_app_tbl.tbl)
