package trajectory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"
)

// The bytes are promised to be the same on any machine: a change makes results of before incomparable.
func TestSeedOneMakesTheSameBytesEverywhere(t *testing.T) {
	hash := sha256.New()
	if err := json.NewEncoder(hash).Encode(Generate(100, 1)); err != nil {
		t.Fatal(err)
	}
	const want = "a9fb224f6713d59379c5b891f1f2e5323b096693bc00af79aeeecfc290fd56b3"
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}
