/* Runs a target over files, once each: what the tests do with the corpus, with any compiler and without libFuzzer. */
#include "fuzz.h"

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        MUST(file != NULL);
        MUST(fseek(file, 0, SEEK_END) == 0);
        long size = ftell(file);
        MUST(size >= 0);
        rewind(file);
        uint8_t *data = malloc((size_t)size);       /* of this very size: one byte too far is seen */
        MUST((data != NULL || size == 0) && fread(data, 1, (size_t)size, file) == (size_t)size);
        fclose(file);
        LLVMFuzzerTestOneInput(data, (size_t)size);
        free(data);
    }
    printf("ok, %d inputs\n", argc - 1);
    return 0;
}
