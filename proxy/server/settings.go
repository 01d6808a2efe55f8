package server

import (
	"fmt"
	"maps"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/api"
	"paceline/proxy/upstream"
)

// settingsMessage converts the settings of the batcher to a message of the contract.
func settingsMessage(s batcher.Settings) *pb.Settings {
	return &pb.Settings{
		Mode:             pb.BatchMode(s.Mode + 1),
		BatchSize:        uint32(s.BatchSize),
		MaxWait:          durationpb.New(s.MaxWait),
		MaxInFlight:      uint32(s.MaxInFlight),
		QueueRequests:    uint32(min(s.QueueRequests, 1<<32-1)),
		QueueBytes:       uint64(s.QueueBytes),
		BatchTokens:      uint64(s.BatchTokens),
		BatchBytes:       uint64(s.BatchBytes),
		MergeIdentical:   s.MergeIdentical,
		Share:            pb.Share(s.Share + 1),
		PrefixBlocks:     uint32(s.PrefixBlocks),
		MaxAge:           durationpb.New(s.MaxAge),
		Retries:          uint32(s.Retries),
		BreakerFailures:  uint32(s.BreakerFailures),
		ForwardsInFlight: uint32(s.ForwardsInFlight),
	}
}

// IsLive reports whether a setting, by the name of its flag, can change while the proxy
// serves.
func IsLive(name string) bool {
	return new(pb.Settings).ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(settingPath(name))) != nil
}

func settingPath(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// UpdateSettings copies the settings with the given flag names from to, and leaves the
// others as they are now. sources has the source of each value by its flag, as in
// Config.Sources. It returns what changed ("max_wait: 200µs -> 5ms"), for the log. After an
// error nothing has changed. It may be called at any time.
func (s *Server) UpdateSettings(to batcher.Settings, names []string, sources map[string]string) (changes []string, err error) {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = settingPath(name)
	}
	return s.settings.update(settingsMessage(to), paths, sources)
}

// liveSettings changes the settings of the queue, one change at a time.
type liveSettings struct {
	up *upstream.Upstream

	mu      sync.Mutex        // held from reading the settings to setting the changed ones
	sources map[string]string // by flag; guarded by mu
}

// Sources of a setting that is not set at the start.
const (
	sourceDefault = "default"
	sourceLive    = "changed live"
)

// update changes all named settings, or none, and returns what changed. sources is nil for a
// change of the admin service.
func (l *liveSettings) update(m *pb.Settings, paths []string, sources map[string]string) (changes []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.up.Queue.Settings()
	next, err := withSettings(before, m, paths)
	if err != nil {
		return nil, err
	}
	if err := l.up.Queue.SetSettings(next); err != nil {
		return nil, err
	}
	l.sources = maps.Clone(l.sources)
	if l.sources == nil {
		l.sources = map[string]string{}
	}
	for _, path := range paths {
		if l.sources[flagName(path)] = sourceLive; sources != nil {
			l.sources[flagName(path)] = sources[flagName(path)]
		}
	}
	return settingChanges(settingsMessage(before), settingsMessage(next)), nil
}

// settingChanges returns the settings that differ, with both values in the form of flags.
func settingChanges(before, after *pb.Settings) (changes []string) {
	fields := before.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		was, is := api.SettingText(before.ProtoReflect(), fields.Get(i)), api.SettingText(after.ProtoReflect(), fields.Get(i))
		if was != is {
			changes = append(changes, fmt.Sprintf("%s: %s -> %s", fields.Get(i).Name(), was, is))
		}
	}
	return changes
}

// withSettings returns s with the named fields of m. It does not validate the result. An
// error is a *upstream.FieldError.
func withSettings(s batcher.Settings, m *pb.Settings, paths []string) (batcher.Settings, error) {
	if len(paths) == 0 {
		return s, upstream.WrongField("update_mask", "must name the settings to change")
	}
	if m == nil {
		return s, upstream.WrongField("settings", "must hold the new values")
	}
	given, next := m.ProtoReflect(), settingsMessage(s)
	for _, path := range paths {
		f := given.Descriptor().Fields().ByName(protoreflect.Name(path))
		if f == nil {
			return s, upstream.WrongField("update_mask", "names %.64q, which is no setting", path)
		}
		value := given.Get(f)
		switch {
		case f.Enum() != nil && value.Enum() == 0: // keeps the setting
		case f.Enum() != nil && f.Enum().Values().ByNumber(value.Enum()) == nil:
			values := f.Enum().Values()
			return s, upstream.WrongField("settings."+path, "must be from %s to %s, got %d",
				values.Get(1).Name(), values.Get(values.Len()-1).Name(), value.Enum())
		case !given.Has(f):
			next.ProtoReflect().Clear(f)
		case f.Message() != nil && !value.Message().Interface().(*durationpb.Duration).IsValid():
			return s, upstream.WrongField("settings."+path, "must be a valid duration")
		default:
			next.ProtoReflect().Set(f, value)
		}
	}
	return settingsOf(next), nil
}

// settingsOf is the inverse of settingsMessage.
func settingsOf(m *pb.Settings) batcher.Settings {
	return batcher.Settings{
		Mode:             batcher.Mode(m.GetMode() - 1),
		BatchSize:        int(m.GetBatchSize()),
		MaxWait:          m.GetMaxWait().AsDuration(),
		MaxInFlight:      int(m.GetMaxInFlight()),
		QueueRequests:    int(m.GetQueueRequests()),
		QueueBytes:       int64(min(m.GetQueueBytes(), 1<<63-1)),
		BatchTokens:      int64(min(m.GetBatchTokens(), 1<<63-1)),
		BatchBytes:       int64(min(m.GetBatchBytes(), 1<<63-1)),
		MergeIdentical:   m.GetMergeIdentical(),
		Share:            batcher.Share(m.GetShare() - 1),
		PrefixBlocks:     int(m.GetPrefixBlocks()),
		MaxAge:           m.GetMaxAge().AsDuration(),
		Retries:          int(m.GetRetries()),
		BreakerFailures:  int(m.GetBreakerFailures()),
		ForwardsInFlight: int(m.GetForwardsInFlight()),
	}
}
