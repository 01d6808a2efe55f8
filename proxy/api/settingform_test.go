package api

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "paceline/proto/paceline/v1"
)

func TestSettingsTakeTheFormOfFlagsAndThatOfTheContract(t *testing.T) {
	want := &pb.Settings{
		Mode: pb.BatchMode_BATCH_MODE_UNBATCHED, Share: pb.Share_SHARE_OFF, BatchSize: 8, QueueBytes: 9,
		MaxWait: durationpb.New(5 * time.Millisecond), MergeIdentical: true,
	}
	for _, body := range []string{
		`{"mode": "unbatched", "share": "off", "batch_size": "8", "queue_bytes": 9, "max_wait": "5ms", "merge_identical": "true"}`,
		`{"mode": "BATCH_MODE_UNBATCHED", "share": 3, "batchSize": 8, "queue_bytes": "9", "maxWait": "0.005s", "mergeIdentical": true} `,
	} {
		if got, err := ParseSettings([]byte(body)); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
}

func TestAWrongSettingNamesItsFieldAndItsForm(t *testing.T) {
	for body, want := range map[string]string{
		`{"max_wait": "5 ms"}`:                     "max_wait: must be a duration, such as 5ms or 1m30s",
		`{"max_wait": ""}`:                         "max_wait: must be a duration",
		`{"mode": "unbached"}`:                     "mode: must be one of fixed, unbatched",
		`{"share": "some"}`:                        "share: must be one of all, prefill, off",
		`{"batch_size": "many"}`:                   "batch_size: must be a whole number, 0 or more",
		`{"batch_size": -1}`:                       "batch_size: must be a whole number, 0 or more",
		`{"merge_identical": "yes"}`:               "merge_identical: must be true or false",
		`{"bach_size": 8}`:                         "bach_size: unknown field",
		`{"max_wait": "5ms", "max_wait": "5ms"}`:   "max_wait: duplicate field",
		`{"max_wait": "5ms"`:                       "not",
		`{"batch_size": 8} {"max_wait": "secret"}`: "not the expected message",
		`[]`: "not the expected message",
	} {
		if _, err := ParseSettings([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", body, err)
		}
	}
}

func TestATextOfASettingIsReadBack(t *testing.T) {
	s := &pb.Settings{Mode: pb.BatchMode_BATCH_MODE_FIXED, MaxWait: durationpb.New(90 * time.Second), BatchSize: 3, MergeIdentical: true}
	fields := s.ProtoReflect().Descriptor().Fields()
	for name, want := range map[string]string{"mode": "fixed", "max_wait": "1m30s", "batch_size": "3", "merge_identical": "true"} {
		field := fields.ByTextName(name)
		text := SettingText(s.ProtoReflect(), field)
		back, err := ParseSettings([]byte(`{"` + name + `": "` + text + `"}`))
		if text != want || err != nil || !back.ProtoReflect().Get(field).Equal(s.ProtoReflect().Get(field)) {
			t.Errorf("%s: %q, then %v, %v", name, text, back, err)
		}
	}
}
