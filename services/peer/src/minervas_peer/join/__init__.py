"""`minervas join`: from the enrolment files of the node's services to installed certificates."""
