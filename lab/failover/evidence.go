package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/estate/load"
	"breakwater/internal/kafka"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/mistake"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/wire"
	"breakwater/lab"
	labkafka "breakwater/lab/kafka"
)

// Estate reads the laboratory's estate.
func (s *Session) Estate() (*estate.Estate, error) {
	e, ms := load.File(s.Lab.EstateFile())
	return e, mistake.Error(ms)
}

// Ledger opens the estate's ledger as the laboratory's own administrator.
func (s *Session) Ledger() (store.Store, error) {
	e, err := s.Estate()
	if err != nil {
		return nil, err
	}
	c, err := s3.New(s.Lab.Storage(lab.Third))
	if err != nil {
		return nil, err
	}
	return store.NewS3(c.Bucket(e.Ledger.Bucket), e.Ledger.Prefix), nil
}

// Plans are the plans of an action that a run set out to apply, by item, from
// the documents that the intents in its ledger name.
func (s *Session) Plans(ctx context.Context, run ledger.Run, action string) (map[string]wire.PlanDoc, error) {
	from, err := s.Ledger()
	if err != nil {
		return nil, err
	}
	entries, _, err := store.Load(ctx, from, run)
	if err != nil {
		return nil, err
	}
	e, err := s.Estate()
	if err != nil {
		return nil, err
	}
	trusted, err := e.Ledger.Trusted(time.Now())
	if err != nil {
		return nil, err
	}
	plans := map[string]wire.PlanDoc{}
	for _, e := range entries {
		if e.Kind != ledger.Intent || !strings.HasSuffix(e.Step, "-"+action) {
			continue
		}
		for _, ref := range e.Docs {
			raw, err := store.GetDoc(ctx, from, trusted, ref)
			if err != nil {
				return nil, err
			}
			var doc wire.PlanDoc
			if err := json.Unmarshal(raw, &doc); err != nil {
				return nil, fmt.Errorf("read plan %s: %w", ref.Key, err)
			}
			plans[doc.Item.Name] = doc
		}
	}
	return plans, nil
}

// promoted asks Kafka's own command whether every group stands where the run's
// approved plan placed it, in every partition and in no other.
func (t *truth) promoted(ctx context.Context) error {
	plans, err := t.s.Plans(ctx, t.rep.Run, "kafka.promote")
	if err != nil {
		return err
	}
	jars, err := labkafka.Jars()
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range t.estate.Groups {
		for _, c := range g.ConsumerGroups {
			doc, ok := plans[c.ConsumerGroup]
			if !ok {
				errs = append(errs, fmt.Errorf("consumer group %s: the ledger has no plan that places it", c.ConsumerGroup))
				continue
			}
			var plan struct {
				Placements []struct {
					Partition kafka.Partition `json:"partition"`
					Offset    int64           `json:"offset"`
				} `json:"placements"`
			}
			if err := json.Unmarshal(doc.Change.Data, &plan); err != nil {
				return fmt.Errorf("read the plan of consumer group %s: %w", c.ConsumerGroup, err)
			}
			rows, err := labkafka.DescribeGroup(ctx, jars, t.s.Lab.KafkaAdmin(lab.Standby), c.ConsumerGroup)
			if err != nil {
				return err
			}
			want := 0
			for _, topic := range c.Topics {
				all, err := t.partitions(ctx, topic)
				if err != nil {
					return err
				}
				want += len(all)
			}
			if len(plan.Placements) != want {
				errs = append(errs, fmt.Errorf("consumer group %s: placed in %d partitions, want %d", c.ConsumerGroup, len(plan.Placements), want))
			}
			for _, p := range plan.Placements {
				if row, ok := rows[p.Partition]; !ok || row.Committed != p.Offset {
					errs = append(errs, fmt.Errorf("consumer group %s: planned at %d in %v, and kafka-consumer-groups shows %+v (there: %t)",
						c.ConsumerGroup, p.Offset, p.Partition, row, ok))
				}
				delete(rows, p.Partition)
			}
			for p, row := range rows {
				errs = append(errs, fmt.Errorf("consumer group %s: kafka-consumer-groups shows %+v in %v, where nothing placed it", c.ConsumerGroup, row, p))
			}
		}
	}
	return errors.Join(errs...)
}
