package server

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"paceline/batcher"
	"paceline/batcher/prefix"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
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
	for reason, r := range s.Releases {
		if r.Batches > 0 {
			out.Releases = append(out.Releases, &pb.ReleaseCount{
				Reason: upstream.ReleaseReason(batcher.Reason(reason)), Batches: r.Batches, Requests: r.Requests,
			})
		}
	}
	return out
}

// upstreamStatus returns the known state of SGLang.
func upstreamStatus(u *upstream.Upstream) *pb.UpstreamStatus {
	s := u.Snapshot()
	out := &pb.UpstreamStatus{
		Url:                  u.URL(),
		Ready:                s.Ready,
		Error:                s.Reason,
		Version:              s.Info.Version,
		Model:                s.Model,
		ModelPath:            s.Info.ModelPath,
		Device:               s.Info.Device,
		Simulated:            s.Info.Simulator != nil,
		MaxPromptTokens:      uint64(max(0, s.Limits.MaxPromptTokens)),
		KvCacheTokens:        uint64(max(0, s.Info.MaxTotalNumTokens)),
		ChunkedPrefillTokens: uint64(max(0, s.Info.ChunkedPrefillSize)), // -1 turns chunking off
		SchedulePolicy:       s.Info.SchedulePolicy,
		VocabSize:            uint64(s.Limits.VocabSize),
		TextsSent:            s.Texts,
		SharesNothing:        s.SharesNothing,
	}
	if t := s.Info.StartupTime; t != nil {
		out.LoadSeconds = &t.LoadWeight
	}
	if sim := s.Info.Simulator; sim != nil {
		out.Simulator = &pb.SimulatorStatus{Profile: sim.Profile, Origin: sim.Origin, Speed: sim.Speed}
	}
	return out
}

// recent returns the batches that ended last, the latest first.
func (a *adminService) recent() []*pb.RecentBatch {
	var out []*pb.RecentBatch
	for _, b := range a.up.Recent() {
		one := &pb.RecentBatch{
			BatchId:       a.up.BatchID(b.ID),
			EndTime:       timestamppb.New(b.At.Add(b.Took)),
			ReleaseReason: upstream.ReleaseReason(b.Reason),
			Size:          uint32(b.Size),
			Unanswered:    uint32(b.Size - b.Answered),
			Seconds:       b.Took.Seconds(),
			PromptTokens:  uint64(b.PromptTokens),
			CachedTokens:  uint64(b.CachedTokens),
			Calls:         uint32(b.Calls),
		}
		if b.Predicted > 0 {
			seconds := b.Predicted.Seconds()
			one.PredictedSeconds = &seconds
		}
		out = append(out, one)
	}
	return out
}
