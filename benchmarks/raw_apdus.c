/* Sends the commands given in hex to the card in a reader, round after round, and prints the
   microseconds of each round: the least that any program can take over the same reader. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <winscard.h>

enum { COMMANDS_MAX = 64, SIZE_MAX_APDU = 262 };

static DWORD read_hex(const char *text, BYTE *out)
{
    DWORD size = strlen(text) / 2;
    if (size > SIZE_MAX_APDU)
        exit(2);
    for (DWORD index = 0; index < size; index++) {
        unsigned value;
        if (sscanf(text + 2 * index, "%2x", &value) != 1)
            exit(2);
        out[index] = value;
    }
    return size;
}

int main(int count, char **arguments)
{
    static BYTE commands[COMMANDS_MAX][SIZE_MAX_APDU];
    DWORD sizes[COMMANDS_MAX], protocol;
    int commands_count = count - 3;
    SCARDCONTEXT context;
    SCARDHANDLE card;

    if (commands_count < 1 || commands_count > COMMANDS_MAX)
        return 2;
    for (int index = 0; index < commands_count; index++)
        sizes[index] = read_hex(arguments[index + 3], commands[index]);
    if (SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &context) != SCARD_S_SUCCESS)
        return 3;
    if (SCardConnect(context, arguments[1], SCARD_SHARE_EXCLUSIVE,
                     SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1, &card, &protocol) != SCARD_S_SUCCESS)
        return 4;
    for (int round = atoi(arguments[2]); round > 0; round--) {
        struct timespec begun, ended;
        clock_gettime(CLOCK_MONOTONIC, &begun);
        for (int index = 0; index < commands_count; index++) {
            BYTE answer[SIZE_MAX_APDU];
            DWORD size = sizeof answer;
            if (SCardTransmit(card, protocol == SCARD_PROTOCOL_T0 ? SCARD_PCI_T0 : SCARD_PCI_T1,
                              commands[index], sizes[index], NULL, answer, &size)
                != SCARD_S_SUCCESS)
                return 5;
        }
        clock_gettime(CLOCK_MONOTONIC, &ended);
        printf("%ld\n", (ended.tv_sec - begun.tv_sec) * 1000000L
                            + (ended.tv_nsec - begun.tv_nsec) / 1000);
    }
    SCardDisconnect(card, SCARD_LEAVE_CARD);
    SCardReleaseContext(context);
    return 0;
}
