package server

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"paceline/batcher"
	"paceline/batcher/prefix"
	pb "paceline/proto/paceline/v1"
)

func batcherStatus(s batcher.Stats) *pb.BatcherStatus {
	out := &pb.BatcherStatus{
		QueuedRequests:   uint64(s.Queued),
		QueuedBytes:      uint64(s.QueuedBytes),
		InFlightBatches:  uint64(s.InFlight),
		InFlightRequests: uint64(s.InFlightRequests),
		Accepted:         s.Accepted,
		Answered:         s.Answered,
		Failed:           s.Failed,
		Cancelled:        s.Cancelled,
		Refused:          s.Refused,
		Merged:           s.Merged,

		HeldPrompts:          uint64(s.Held),
		Callers:              uint64(s.Callers),
		BelievedCachedTokens: uint64(s.CachedBlocks) * prefix.BlockTokens,
		Splits:               s.Splits,
		Retries:              s.Retries,
		BreakerOpen:          s.BreakerOpen,
	}
	if c := s.Cost; c.Ready() {
		out.Cost = &pb.CostModel{
			SecondsPerBatch: c.PerBatch, SecondsPerPrompt: c.PerRequest, SecondsPerToken: c.PerToken,
			Batches: uint64(c.Batches), MeanError: c.Error,
		}
	}
	if p := s.Plan; p.BatchSize > 0 {
		out.Auto = &pb.AutoPlan{
			BatchSize: uint32(p.BatchSize), BatchTokens: uint64(p.BatchTokens), MaxWait: durationpb.New(p.MaxWait),
			MaxInFlight: uint32(p.MaxInFlight), PrefixHold: true, Reason: p.Why,
		}
	}
	for reason, r := range s.Releases {
		if r.Batches > 0 {
			out.Releases = append(out.Releases, &pb.ReleaseCount{
				Reason: releaseReason(batcher.Reason(reason)), Batches: r.Batches, Requests: r.Requests,
			})
		}
	}
	return out
}

// status is what is known of a backend.
func (b *backend) status() *pb.UpstreamStatus {
	url, s := b.client.URL(), b.upstream.state()
	out := &pb.UpstreamStatus{
		Url:                  url,
		Ready:                s.ready,
		Error:                s.reason,
		Version:              s.info.Version,
		Model:                s.model(),
		ModelPath:            s.info.ModelPath,
		Device:               s.info.Device,
		Simulated:            s.info.Simulator != nil,
		MaxPromptTokens:      uint64(max(0, s.limits.maxPromptTokens)),
		KvCacheTokens:        uint64(max(0, s.info.MaxTotalNumTokens)),
		ChunkedPrefillTokens: uint64(max(0, s.info.ChunkedPrefillSize)), // -1 turns chunking off
		SchedulePolicy:       s.info.SchedulePolicy,
		VocabSize:            uint64(s.limits.vocabSize),
		TextsSent:            s.encoder.why,
	}
	if t := s.info.StartupTime; t != nil {
		out.LoadSeconds = &t.LoadWeight
	}
	if sim := s.info.Simulator; sim != nil {
		out.Simulator = &pb.SimulatorStatus{Profile: sim.Profile, Origin: sim.Origin, Speed: sim.Speed}
	}
	return out
}
