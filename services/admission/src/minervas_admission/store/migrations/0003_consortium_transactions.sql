-- Transactions of the authority that are about no member: parameters, and the authority's own key.

ALTER TABLE membership_transactions
    ALTER COLUMN member DROP NOT NULL,
    ALTER COLUMN decision DROP NOT NULL,
    DROP CONSTRAINT membership_transactions_action_check,
    ADD CONSTRAINT membership_transactions_action_check CHECK (action IN
        ('admit', 'revoke', 'register_meter', 'suspend', 'resume', 'leave', 'rotate', 'recover',
         'parameters', 'authority')),
    ADD CONSTRAINT membership_transactions_about CHECK
        ((member IS NULL) = (action IN ('parameters', 'authority')) AND (member IS NULL) = (decision IS NULL));

COMMENT ON COLUMN membership_transactions.member IS 'Whom it is about; NULL if it is about the consortium.';
