package upstream

import (
	"strings"
	"testing"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
)

func TestEveryReleaseReasonHasAWordInTheContract(t *testing.T) {
	for r := batcher.ReasonFull; r < batcher.NumReasons; r++ {
		got := ReleaseReason(r)
		if want := "RELEASE_REASON_" + strings.ToUpper(r.String()); got == pb.ReleaseReason_RELEASE_REASON_UNSPECIFIED || got.String() != want {
			t.Errorf("%v is %v, want %s", r, got, want)
		}
	}
}
