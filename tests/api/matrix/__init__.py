"""Who may do what at which address: the operations of the document, objects to try them on, what is expected."""
