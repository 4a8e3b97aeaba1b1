/* The table's description is for elf2cfetbl; here it only has to compile. */
#ifndef CFE_TBL_FILEDEF_H
#define CFE_TBL_FILEDEF_H
#define CFE_TBL_FILEDEF(object, name, description, file) extern const size_t CFE_TBL_FILEDEF_Size;
#endif
