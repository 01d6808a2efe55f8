package server

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
)

// settingsMessage is the batcher's settings in the contract's words.
func settingsMessage(s batcher.Settings) *pb.Settings {
	mode := pb.BatchMode_BATCH_MODE_FIXED
	if s.Mode == batcher.ModeUnbatched {
		mode = pb.BatchMode_BATCH_MODE_UNBATCHED
	}
	return &pb.Settings{
		Mode:           mode,
		BatchSize:      uint32(s.BatchSize),
		MaxWait:        durationpb.New(s.MaxWait),
		MaxInFlight:    uint32(s.MaxInFlight),
		QueueRequests:  uint32(min(s.QueueRequests, 1<<32-1)),
		QueueBytes:     uint64(s.QueueBytes),
		BatchTokens:    uint64(s.BatchTokens),
		BatchBytes:     uint64(s.BatchBytes),
		MergeIdentical: s.MergeIdentical,
	}
}

// updateSettings applies the named fields of m to s. The result is not validated
// yet. An error is a *fieldError.
func updateSettings(s batcher.Settings, m *pb.Settings, paths []string) (batcher.Settings, error) {
	if len(paths) == 0 {
		return s, wrongField("update_mask", "must name the settings to change")
	}
	if m == nil {
		return s, wrongField("settings", "must hold the new values")
	}
	for _, path := range paths {
		if err := updateSetting(&s, m, path); err != nil {
			return s, err
		}
	}
	return s, nil
}

func updateSetting(s *batcher.Settings, m *pb.Settings, path string) error {
	switch path {
	case "mode":
		return updateMode(s, m.GetMode())
	case "batch_size":
		s.BatchSize = int(m.GetBatchSize())
	case "max_wait":
		if m.GetMaxWait() != nil && !m.GetMaxWait().IsValid() {
			return wrongField("settings.max_wait", "must be a valid duration")
		}
		s.MaxWait = m.GetMaxWait().AsDuration()
	case "max_in_flight":
		s.MaxInFlight = int(m.GetMaxInFlight())
	case "queue_requests":
		s.QueueRequests = int(m.GetQueueRequests())
	case "queue_bytes":
		s.QueueBytes = int64(min(m.GetQueueBytes(), 1<<63-1))
	case "batch_tokens":
		s.BatchTokens = int64(min(m.GetBatchTokens(), 1<<63-1))
	case "batch_bytes":
		s.BatchBytes = int64(min(m.GetBatchBytes(), 1<<63-1))
	case "merge_identical":
		s.MergeIdentical = m.GetMergeIdentical()
	default:
		return wrongField("update_mask", "names %.64q, which is no setting", path)
	}
	return nil
}

func updateMode(s *batcher.Settings, m pb.BatchMode) error {
	switch m {
	case pb.BatchMode_BATCH_MODE_UNSPECIFIED: // leave as it is
	case pb.BatchMode_BATCH_MODE_FIXED:
		s.Mode = batcher.ModeFixed
	case pb.BatchMode_BATCH_MODE_UNBATCHED:
		s.Mode = batcher.ModeUnbatched
	default:
		return wrongField("settings.mode", "must be BATCH_MODE_FIXED or BATCH_MODE_UNBATCHED, got %d", m)
	}
	return nil
}
