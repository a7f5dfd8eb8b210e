package activities

import "breakwater/internal/action"

// Catalogue is every action that a worker serves. Docs are generated from it.
func Catalogue(s *Systems) *action.Catalogue {
	c := action.NewCatalogue()
	for _, add := range []func(*action.Catalogue){
		s.obligationActions,
		s.kafkaActions,
		s.pipelineActions,
		s.witnessActions,
		s.recoveryPointActions,
		s.tableActions,
		s.rollbackActions,
		s.goldenActions,
		s.secretActions,
		s.routingActions,
		s.storageActions,
		s.rewindActions,
		s.undeleteActions,
		s.replicationActions,
		s.accessActions,
		s.regionActions,
		s.backupActions,
	} {
		add(c)
	}
	return c
}
