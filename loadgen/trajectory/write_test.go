package trajectory

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsWrittenIsReadBackWhole(t *testing.T) {
	reward := 1.0
	all := append(Generate(5, 3), Trajectory{
		ID: "x", Problem: "<a> & \u2028 日本", SystemPrompt: "s", InstancePrompt: "{problem_statement}",
		MaxSteps: 3, ExitReason: "agent", Reward: &reward,
	})
	var b bytes.Buffer
	if err := Write(&b, all); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b, "written")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
}

// The bytes are promised to be the same on any machine: a change makes files and
// results of before incomparable.
func TestSeedOneIsWrittenAsTheSameBytesEverywhere(t *testing.T) {
	hash := sha256.New()
	if err := Write(hash, Generate(100, 1)); err != nil {
		t.Fatal(err)
	}
	const want = "268fd0dec93be04c8be71ace8f629792c99cb2b9beea22891f4f5097f6841b7b"
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}
