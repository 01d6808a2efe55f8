//go:build unix

package sweep

import (
	"syscall"
	"time"
)

// processCPU returns the processor time of this process; 0 if it is unknown.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
